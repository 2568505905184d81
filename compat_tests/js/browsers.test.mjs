// The main use, from the beginning: a server started as in the documentation, instances created by curl, and npm's phoenix,
// unchanged, in two separate browsers. Each instance is at its own /socket/ID.

import assert from "node:assert/strict"
import {execFile} from "node:child_process"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {promisify} from "node:util"
import {browserTest, launchBrowser, openTab} from "./browser.mjs"
import {npmPhoenix, startPages} from "./pages.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const run = promisify(execFile)

/** Runs curl on a path of the API and returns what it prints, as JSON. */
async function curl(server, path, ...args) {
  const {stdout} = await run("curl", ["-sS", `${server.http}/api${path}`, "-H", `Authorization: Bearer ${await server.key()}`, "-H", "Content-Type: application/json", ...args])
  return JSON.parse(stdout)
}

// The page's own code, as a data URL, because its folder has no package.json that makes it a module for Node.
const {apply} = await import(`data:text/javascript;base64,${(await fs.readFile(new URL("../../internal/site/assets/collab-text.js", import.meta.url))).toString("base64")}`)

const PAGE = `<!doctype html><meta charset="utf-8"><title>phoenix.js</title><link rel="icon" href="data:,">
<script type="module">
  import * as phoenix from "/phoenix.mjs"
  window.phoenix = phoenix
</script>`

/** A front end on another origin: a page that imports only npm's phoenix. */
async function startFrontEnd(scope) {
  return `http://127.0.0.1:${await startPages(scope, {"/": ["text/html", PAGE], "/phoenix.mjs": ["text/javascript", await npmPhoenix()]})}`
}

/** A user in their own browser. Its functions run in the page, with the code that an application would have. */
class User {
  static async open(scope, name, frontEnd) {
    const browser = await launchBrowser()
    scope.defer(() => browser.close())
    const page = await openTab(await browser.newContext())
    scope.defer(() => assert.deepEqual(page.troubles, []))
    await page.goto(frontEnd)
    await page.waitForFunction(() => window.phoenix)
    return Object.assign(new User(), {name, page})
  }

  /** Connects to an instance and joins a topic. Resolves with the reply to the join. */
  join(url, topic, params = {}) {
    return this.page.evaluate(({url, topic, params}) => new Promise((resolve, reject) => {
      const {Socket, Presence} = window.phoenix
      window.socket?.disconnect()
      const socket = window.socket = new Socket(url)
      socket.connect()
      const channel = window.channel = socket.channel(topic, params)
      window.came = {}
      channel.onMessage = (event, payload) => {
        (window.came[event] ??= []).push(payload)
        return payload
      }
      window.presence = new Presence(channel)
      channel.join().receive("ok", resolve).receive("error", ({reason}) => reject(new Error(reason))).receive("timeout", () => reject(new Error("timeout")))
    }), {url, topic, params: {user: this.name, ...params}})
  }

  push(event, payload = {}) {
    return this.page.evaluate(([event, payload]) => new Promise((resolve, reject) => {
      window.channel.push(event, payload)
        .receive("ok", resolve).receive("error", ({reason}) => reject(new Error(reason))).receive("timeout", () => reject(new Error("timeout")))
    }), [event, payload])
  }

  /** Returns all payloads of an event since the join. */
  came(event) { return this.page.evaluate(event => window.came[event] ?? [], event) }

  here() { return this.page.evaluate(() => window.presence.list(name => name).sort()) }

  async has(what, event, wanted, of = payload => payload) {
    const look = async () => (await this.came(event)).map(of)
    await until(`${this.name} has ${what}`, async () => same(await look(), wanted), look)
  }
}

/** A server with its data in a directory, as docs/instances.md starts it, and two users in two browsers. */
async function two(t) {
  const scope = new Scope(t)
  const data = await fs.mkdtemp(path.join(os.tmpdir(), "mycelium-browsers-"))
  scope.defer(() => fs.rm(data, {recursive: true}))
  const frontEnd = await startFrontEnd(scope)
  const server = await startServer(scope, "mycelium", {more: ["--data", data, "--check-origin", frontEnd]})
  const create = spec => curl(server, "/instances", "-d", JSON.stringify(spec))
  const [ada, grace] = await Promise.all(["Ada", "Grace"].map(name => User.open(scope, name, frontEnd)))
  return {server, create, ada, grace}
}

browserTest("two browsers, npm's phoenix: what curl creates is there to use, at its own /socket/ID", async t => {
  const {server, create, ada, grace} = await two(t)

  await t.test("a chat: who is there, what was said, who types", async () => {
    const chat = await create({id: "room-1", type: "chat"})
    assert.equal(chat.socket_url, `ws://${server.address}/socket/room-1`)
    await ada.join(chat.socket_url, "room:lobby")
    await ada.push("new_msg", {body: "Is anybody here?"})
    await grace.join(chat.socket_url, "room:lobby")
    await grace.has("what was said before", "backlog", [["Is anybody here?"]], ({messages}) => messages.map(({body}) => body))
    for (const user of [ada, grace]) await until(`${user.name} sees both`, async () => same(await user.here(), ["Ada", "Grace"]), () => user.here())
    await grace.push("typing", {typing: true})
    await ada.has("that Grace types", "typing", [{user: "Grace", typing: true}])
    await grace.push("new_msg", {body: "I am"})
    await ada.has("both messages", "new_msg", [["Ada", "Is anybody here?"], ["Grace", "I am"]], ({user, body}) => [user, body])
    await assert.rejects(grace.push("new_msg", {body: ""}), /body/)
  })

  await t.test("a game, to its end", async () => {
    const game = await create({id: "table-1", type: "game", config: {rules: "tictactoe", clock: "5m"}})
    assert.deepEqual(await ada.join(game.socket_url, "game"), {user: "Ada", seat: null})
    await grace.join(game.socket_url, "game")
    assert.equal((await ada.push("sit")).seat, 0)
    assert.equal((await grace.push("sit")).seat, 1)
    await assert.rejects(grace.push("move", {cell: 0}), /not your turn/)
    for (const [user, cell] of [[ada, 0], [grace, 3], [ada, 1], [grace, 4], [ada, 2]]) await user.push("move", {cell})
    for (const user of [ada, grace]) {
      const last = async () => (await user.came("state")).at(-1)
      await until(`${user.name} sees the end`, async () => (await last()).status === "over", last)
      const {result, board} = await last()
      assert.deepEqual(result, {winner: 0, reason: "rules"})
      assert.deepEqual(board.line, [0, 1, 2])
    }
  })

  await t.test("a document, changed by both at once", async () => {
    const doc = await create({id: "doc-1", type: "collab", config: {durable: true}})
    for (const user of [ada, grace]) {
      await user.join(doc.socket_url, "doc")
      await user.has("the empty document", "doc", [[0, ""]], ({rev, doc}) => [rev, doc])
    }
    const made = await Promise.all([ada.push("op", {rev: 0, id: "a1", op: ["Ada was here. "]}), grace.push("op", {rev: 0, id: "g1", op: ["So was Grace. "]})])
    assert.deepEqual(made.map(({rev}) => rev).sort(), [1, 2])
    await grace.push("op", {rev: 2, id: "g2", op: ["Ada was here. So was Grace. ".length, "Both at once."]})
    const ops = user => user.came("op")
    for (const user of [ada, grace]) await until(`${user.name} has all operations`, async () => (await ops(user)).length === 3, () => ops(user))
    assert.deepEqual(await ops(ada), await ops(grace), "in one order")
    // The text that each browser builds from the operations is the server's.
    const texts = await Promise.all([ada, grace].map(async user => (await ops(user)).reduce((text, {op}) => apply(text, op), "")))
    const {result} = await curl(server, "/instances/doc-1/signal", "-d", JSON.stringify({name: "get"}))
    assert.equal(result.rev, 3)
    assert.deepEqual(texts, [result.doc, result.doc])
    assert.match(result.doc, /^(Ada was here. So was Grace. |So was Grace. Ada was here. )Both at once\.$/)
  })

  await t.test("the three are separate: what is done in one does not show in another", async () => {
    const {instances} = await curl(server, "/instances?state=running")
    assert.deepEqual(instances.filter(({declared}) => !declared).map(({id, type}) => [id, type]), [["doc-1", "collab"], ["room-1", "chat"], ["table-1", "game"]])
    await assert.rejects(ada.join(`ws://${server.address}/socket/doc-1`, "room:lobby"), /unmatched topic/)
    const {presence} = await curl(server, "/instances/doc-1/presence?topic=room:lobby")
    assert.deepEqual(presence, {})
  })
})
