// The built-in types, with npm's phoenix, unchanged; and the page's code for a shared text, against the server.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import test from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {createInstance} from "./instances.mjs"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const becomes = (what, look, wanted) => until(what, () => same(look(), wanted), look)

/** A client with one channel: its events by name, push(event, payload), and the reply to its join. */
async function enter(scope, endpoint, topic, params, options = {}) {
  const socket = new phoenix.Socket(endpoint, {transport: WebSocket, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20, ...options})
  socket.connect()
  scope.defer(() => { socket.disconnect() }) // its callback is not called if the server is gone
  const channel = socket.channel(topic, params)
  const came = {}
  channel.onMessage = (event, payload) => {
    (came[event] ??= []).push(payload)
    return payload
  }
  const answered = push => new Promise((resolve, reject) => {
    push.receive("ok", resolve).receive("error", response => reject(new Error(response.reason))).receive("timeout", () => reject(new Error("timeout")))
  })
  const joined = await answered(channel.join())
  return {socket, channel, came, joined, push: (event, payload = {}) => answered(channel.push(event, payload))}
}

async function instance(t, type, config) {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const created = await createInstance(server, {type, config})
  assert.match(created.socket_url, /^ws:\/\/127\.0\.0\.1:\d+\/socket\/\w+$/)
  return {scope, server, endpoint: created.socket_url}
}

test("phoenix.js: a chat, its backlog and who is there", async t => {
  const {scope, endpoint} = await instance(t, "chat", {backlog: 2})
  const ada = await enter(scope, endpoint, "room:lobby", {user: "ada"})
  for (const body of ["one", "two", "three"]) await ada.push("new_msg", {body})
  const bob = await enter(scope, endpoint, "room:lobby", {user: "bob"})
  await until("bob has the backlog", () => bob.came.backlog)
  assert.deepEqual(bob.came.backlog[0].messages.map(({user, body}) => [user, body]), [["ada", "two"], ["ada", "three"]])
  assert.equal(bob.came.backlog[0].complete, false)
  await bob.push("typing", {typing: true})
  await until("ada sees that bob types", () => ada.came.typing)
  const {id} = await bob.push("new_msg", {body: "four", key: "k"})
  assert.equal((await bob.push("new_msg", {body: "four", key: "k"})).id, id)
  await becomes("ada has all, once", () => ada.came.new_msg.map(({body}) => body), ["one", "two", "three", "four"])
  await assert.rejects(bob.push("new_msg", {body: 4}), /body/)
})

test("phoenix.js: a game to its end, and a seat that a token brings back", async t => {
  const {scope, endpoint} = await instance(t, "game", {rules: "tictactoe", clock: "1m"})
  const ada = await enter(scope, endpoint, "game", {user: "ada"})
  const bob = await enter(scope, endpoint, "game", {user: "bob"})
  const {token} = await ada.push("sit")
  await bob.push("sit")
  await assert.rejects(bob.push("move", {cell: 0}), /not your turn/)
  await ada.push("move", {cell: 0})
  await bob.push("move", {cell: 3})
  ada.socket.disconnect()
  const again = await enter(scope, endpoint, "game", {user: "ada", seat_token: token})
  assert.deepEqual(again.joined, {user: "ada", seat: 0})
  await again.push("move", {cell: 1})
  await bob.push("move", {cell: 4})
  await again.push("move", {cell: 2})
  await becomes("bob knows who has won", () => bob.came.state.at(-1).result, {winner: 0, reason: "rules"})
  assert.deepEqual(bob.came.state.at(-1).board.line, [0, 1, 2])
})

test("phoenix.js: ticks of a game come in order, without a gap", async t => {
  const {scope, endpoint} = await instance(t, "game", {rules: "snake", rate: 60})
  const watcher = await enter(scope, endpoint, "game", {user: "eve"})
  const ada = await enter(scope, endpoint, "game", {user: "ada"})
  await ada.push("sit")
  await until("there were 20 ticks", () => watcher.came.tick?.length >= 20)
  const first = watcher.came.state[0].n
  watcher.came.tick.forEach(({n}, i) => assert.equal(n, first + 1 + i))
})

test("phoenix.js: what was answered survives kill -9: a turn, an operation, a seat", async t => {
  const scope = new Scope(t)
  const data = await fs.mkdtemp(path.join(os.tmpdir(), "mycelium-types-"))
  scope.defer(() => fs.rm(data, {recursive: true}))
  const before = await startServer(scope, "mycelium", {more: ["--data", data]})
  await createInstance(before, {id: "table", type: "game", config: {rules: "connect4"}})
  await createInstance(before, {id: "text", type: "collab", config: {durable: true}})
  const player = (server, params) => enter(scope, `${server.endpoint}/table`, "game", params)
  const ada = await player(before, {user: "ada"}), bob = await player(before, {user: "bob"})
  const {token} = await ada.push("sit")
  await bob.push("sit")
  await ada.push("move", {column: 3})
  const writing = await enter(scope, `${before.endpoint}/text`, "doc", {user: "ada"})
  let text = ""
  for (let rev = 0; rev < 100; rev++) {
    await writing.push("op", {rev, id: `${rev}`, op: [`${rev} `]})
    text = `${rev} ${text}`
  }
  await before.kill()

  const after = await startServer(scope, "mycelium", {more: ["--data", data]})
  const again = await player(after, {user: "ada", seat_token: token})
  await until("the game is told", () => again.came.state)
  const [{status, turn, board}] = again.came.state
  assert.deepEqual([again.joined.seat, status, turn, board.moves, board.cells.at(-4)], [0, "playing", 1, 1, 0])
  const reading = await enter(scope, `${after.endpoint}/text`, "doc", {user: "bob", rev: 98})
  await until("the document is told", () => reading.came.doc)
  assert.deepEqual(reading.came.doc[0].ops.map(({rev, op}) => [rev, op]), [[99, ["98 "]], [100, ["99 "]]])
  const whole = await enter(scope, `${after.endpoint}/text`, "doc", {user: "eve"})
  await until("the whole document is told", () => whole.came.doc)
  assert.equal(whole.came.doc[0].doc, text)
})

// The page's own code, as a data URL, because its folder has no package.json that makes it a module for Node.
const code = await fs.readFile(new URL("../../internal/site/assets/collab-text.js", import.meta.url))
const {apply, difference, follow, rebase, Shared} = await import(`data:text/javascript;base64,${code.toString("base64")}`)

// mulberry32: the same numbers for a seed on every machine.
function random(seed) {
  return n => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

const WORDS = ["a", "b", "ab", "😀", "\n", "", "7", "-1"] // some texts are numbers, because an operation has both

// Replaces a piece of a text.
function edited(text, pick) {
  const points = [...text]
  const at = pick(points.length + 1)
  points.splice(at, pick(Math.min(4, points.length - at + 1)), WORDS[pick(WORDS.length)])
  return points.join("")
}

test("page: concurrent changes of a text converge, and the caret stays where it was", () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const pick = random(seed)
    const before = Array.from({length: pick(8)}, () => WORDS[pick(WORDS.length)]).join("")
    const one = edited(edited(before, pick), pick), other = edited(before, pick)
    const a = difference(before, one), b = difference(before, other)
    assert.equal(apply(before, a), one, `seed ${seed}`)
    assert.equal(apply(one, rebase(b, a, true)), apply(other, rebase(a, b, false)), `seed ${seed}: ${JSON.stringify([before, a, b])}`)
    assert.ok(!/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(apply(one, rebase(b, a, true))), `seed ${seed}`)
  }
  assert.equal(follow(5, [2, "xyz"]), 8)
  assert.equal(follow(5, [5, "xyz"]), 8)
  assert.equal(follow(5, [6, "xyz"]), 5)
  assert.equal(follow(5, [1, -2]), 3)
  assert.equal(follow(5, [4, -3, "x"]), 4)
})

test("page: a text has what others write, and not what they delete", () => {
  for (const word of WORDS.filter(Boolean)) {
    const sent = [], changed = []
    const shared = new Shared({send: op => sent.push(op), changed: op => changed.push(op), missing: assert.fail})
    shared.catchUp({rev: 1, ops: null, doc: "xy"})
    changed.length = 0
    shared.receive({rev: 2, id: "theirs", op: [1, word]})
    assert.equal(shared.local, `x${word}y`)
    shared.receive({rev: 3, id: "theirs too", op: [1, -word.length]})
    assert.equal(shared.local, "xy")
    shared.receive({rev: 4, id: "nothing", op: [2]})
    assert.deepEqual([changed, sent], [[[1, word], [1, -word.length]], []], JSON.stringify(word))
  }
})

function writer(client) {
  const shared = new Shared({
    send: op => client.push("op", op).catch(() => {}), // a lost one is sent again after the next join
    changed: () => {},
    missing: rev => client.push("since", {rev}).then(state => shared.catchUp(state)),
  })
  return shared
}

test("page: texts of many writers converge, through lost connections", async t => {
  const {scope, server, endpoint} = await instance(t, "collab", {durable: true})
  const pick = random(7)
  const writers = await Promise.all(["ada", "bob", "eve"].map(async user => {
    const proxy = await startProxy(scope, server.port)
    const held = {user}
    const client = await enter(scope, endpoint.replace(/:\d+/, `:${proxy.port}`), "doc", () => ({user, rev: held.shared?.rev}))
    held.shared = writer(client)
    // Handles what has arrived already, and then everything that arrives, in order.
    const hear = (event, payload) => {
      if (event === "doc") held.shared.catchUp(payload)
      if (event === "op") held.shared.receive(payload)
    }
    for (const event of ["doc", "op"]) for (const payload of client.came[event] ?? []) hear(event, payload)
    client.channel.onMessage = (event, payload) => {
      hear(event, payload)
      return payload
    }
    client.socket.onClose(() => held.shared.offline())
    return {...held, proxy, shared: held.shared}
  }))
  await until("all have the document", () => writers.every(({shared}) => shared.online))
  for (let turn = 0; turn < 300; turn++) {
    const one = writers[pick(writers.length)]
    one.shared.edit(edited(one.shared.local, pick))
    if (pick(60) === 0) one.proxy.kill()
    if (pick(4) === 0) await new Promise(setImmediate)
  }
  const settled = () => writers.map(({shared}) => [shared.online, shared.sent === null && shared.local === shared.base])
  await becomes("all is sent", settled, writers.map(() => [true, true]))
  const last = Math.max(...writers.map(({shared}) => shared.rev))
  await becomes("all is received", () => writers.map(({shared}) => shared.rev), writers.map(() => last))
  for (const {shared} of writers) assert.equal(shared.local, writers[0].shared.local)
  const fresh = await enter(scope, endpoint, "doc", {user: "kim"})
  await until("the server has told", () => fresh.came.doc)
  assert.deepEqual([fresh.came.doc[0].rev, fresh.came.doc[0].doc], [last, writers[0].shared.local])
})
