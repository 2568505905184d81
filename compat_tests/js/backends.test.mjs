// The back ends of examples/backends pass one suite, each with a server that has been started with examples/backends/mycelium.yaml,
// and with npm's phoenix.js.

import assert from "node:assert/strict"
import {randomBytes} from "node:crypto"
import {fileURLToPath} from "node:url"
import test from "node:test"
import {backEnds, Chat, join} from "./backends.mjs"
import {browserTest, openWindow, useBrowser} from "./browser.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {same, until} from "./wait.mjs"

useBrowser()
leaveNothingBehind()

const refused = reason => ({status: "error", response: {reason}})

async function isRefused(socket) {
  await until("it is refused", () => socket.failures > 0)
  assert.equal(socket.isConnected(), false)
  await new Promise(resolve => socket.disconnect(resolve))
}

async function suite(t, chat) {
  let ann, mia

  await t.test("signatures are checked", async () => {
    const body = JSON.stringify({v: 1, id: "msg_1", type: "connect", params: {token: "?"}})
    assert.deepEqual(await (await chat.hook(body)).json(), {allow: false})
    assert.equal((await chat.post("mycelium", body)).status, 401, "unsigned")
    assert.equal((await chat.hook(body, {}, {body: body.replace("?", "!")})).status, 401, "changed")
    assert.equal((await chat.hook(body, {at: Date.now() / 1000 - 600})).status, 401, "old")
    assert.equal((await chat.hook(body, {secret: randomBytes(32).toString("base64")})).status, 401, "another key")
  })

  await t.test("connects are refused and allowed", async () => {
    assert.equal((await chat.post("login", {name: "nobody"})).status, 403)
    for (const params of [{}, {token: "guessed"}, {token: ["a"]}, {token: {a: "b"}}]) await isRefused(chat.connect(params))
    ann = await chat.enter("ann")
    mia = await chat.enter("mia")
    assert.deepEqual((await chat.api("sockets?user=ann")).sockets.map(({id, user}) => [id, user]), [["users:ann", "ann"]])
  })

  await t.test("joins are refused and allowed", async () => {
    assert.deepEqual(ann.reply, {status: "ok", response: {role: "member", messages: []}})
    assert.deepEqual(mia.reply, {status: "ok", response: {role: "moderator", messages: []}})
    for (const topic of ["room:staff", "room:none", "lobby", "elsewhere"]) assert.deepEqual((await join(ann.socket, topic)).reply, refused("members only"), topic)
    assert.equal((await join(mia.socket, "room:staff")).reply.status, "ok")
  })

  await t.test("messages are moderated, stored and answered", async () => {
    assert.deepEqual(await ann.push("new_msg", {body: "see https://example.com"}), refused("only moderators post links"))
    assert.deepEqual(await ann.push("new_msg", {body: "Darn, it rains. Grüße! 🌧"}), {status: "ok", response: {id: 1}})
    assert.deepEqual(await mia.push("new_msg", {body: "see https://example.com"}), {status: "ok", response: {id: 2}})
    const messages = [{id: 1, name: "ann", body: "****, it rains. Grüße! 🌧"}, {id: 2, name: "mia", body: "see https://example.com"}]
    for (const one of [ann, mia]) await until("all hear it", () => same(one.heard("new_msg"), messages), () => one.events)
    assert.deepEqual((await chat.enter("bob")).reply.response.messages, messages)
  })

  await t.test("an event is answered by the back end", async () => {
    const {status, response} = await ann.push("search", {text: "RAINS"})
    assert.deepEqual([status, response.messages.map(({id}) => id)], ["ok", [1]])
    assert.deepEqual(await ann.push("search", {text: "snow"}), {status: "ok", response: {messages: []}})
  })

  await t.test("clients that send nonsense are refused, and do no harm", async () => {
    const reason = "a message has a body of up to 2000 characters"
    for (const payload of [null, [], "text", 1, {}, {body: null}, {body: {a: 1}}, {body: "x".repeat(2001)}]) assert.deepEqual(await ann.push("new_msg", payload), refused(reason), JSON.stringify(payload))
    assert.deepEqual(await ann.push("new_msg", new Uint8Array([0, 255]).buffer), refused(reason))
    for (const event of ["search", "status"]) {
      for (const payload of [null, 1, {text: {}, status: {}}]) assert.notEqual((await ann.push(event, payload)).response.reason, "unavailable", `${event} ${JSON.stringify(payload)}`)
    }
    assert.deepEqual(await ann.push("unknown"), refused("unknown event"))
  })

  await t.test("the back end sets presences", async () => {
    assert.equal((await ann.push("status", {status: "here"})).status, "ok")
    await until("mia sees who is there", () => same(mia.here(), {
      ann: {role: "member", status: "here"}, bob: {role: "member", status: "here"}, mia: {role: "moderator", status: "here"},
    }), () => mia.here())
    assert.deepEqual(await ann.push("status", {status: "away"}), {status: "ok", response: {}})
    await until("mia sees that ann is away", () => same(mia.here().ann, {role: "member", status: "away"}), () => mia.here())
  })

  await t.test("what it broadcasts is history", async () => {
    const late = await chat.enter("mia", "room:lobby", {history: {last: 10}})
    await until("it is replayed", () => same(late.heard("new_msg").map(({id}) => id), [1, 2]), () => late.events)
    const {messages} = await chat.api("topics/room:lobby/history")
    assert.deepEqual(messages.map(({event, payload}) => [event, payload.id]), [["new_msg", 1], ["new_msg", 2]])
    await new Promise(resolve => late.socket.disconnect(resolve))
  })

  await t.test("each event that it is told counts once", async () => {
    const taken = async () => (await chat.api("hooks")).hooks.find(({name}) => name === "chat")
    const headers = await chat.server.headers()
    const stream = await fetch(`${chat.server.http}/api/instances/default/events?type=joined`, {headers})
    const bob = await chat.enter("bob")
    let events = ""
    for await (const chunk of stream.body.pipeThrough(new TextDecoderStream())) if (/^id: .+\n/m.test(events += chunk)) break
    const [, first] = /^id: (.+)$/m.exec(events)
    assert.equal((await bob.push("new_msg", {body: "hello"})).status, "ok")
    await new Promise(resolve => bob.socket.disconnect(resolve))
    const counted = {topic: "room:lobby", visits: 5, posts: 3}
    await until("all is counted", async () => same(await chat.lobby(), counted) && (await taken()).waiting === 0, async () => [await chat.lobby(), await taken()])
    const {delivered} = await taken()
    await chat.api("hooks/chat/replay", {after: first})
    await until("it is told again", async () => (await taken()).delivered > delivered && (await taken()).waiting === 0, taken)
    assert.deepEqual(await chat.lobby(), counted)
  })

  await t.test("a user who is put out stays out", async () => {
    const bob = await chat.enter("bob")
    const out = by => chat.post("ban", {user: "bob"}, {authorization: `Bearer ${by.token}`})
    assert.equal((await out(ann)).status, 403)
    assert.equal(bob.socket.isConnected(), true)
    assert.ok((await out(mia)).ok)
    await until("bob comes back, and is refused", () => bob.socket.failures > 1)
    assert.equal(bob.socket.isConnected(), false)
    await until("the others are told", () => same(ann.heard("put_out"), [{user: "bob"}]), () => ann.events)
    await until("bob is gone", () => !("bob" in ann.here()), ann.here)
    assert.equal((await chat.post("login", {name: "bob"})).status, 403)
    await isRefused(chat.connect({token: bob.token}))
    assert.deepEqual((await chat.api("sockets?user=bob")).sockets, [])
    assert.equal((await ann.push("new_msg", {body: "quiet here"})).status, "ok")
  })

  await t.test("none of these requests made the back end fail", async () => {
    const metrics = await (await fetch(`${chat.server.http}/metrics`, {headers: await chat.server.headers()})).text()
    const decided = outcome => [...metrics.matchAll(new RegExp(`^mycelium_hook_decisions_total{.*outcome="${outcome}"} (\\d+)`, "gm"))].reduce((all, [, n]) => all + Number(n), 0)
    assert.ok(decided("allowed") > 10 && decided("refused") > 10, metrics)
    assert.equal(decided("unanswered"), 0)
  })
}

for (const backEnd of backEnds) {
  test(`examples/backends: ${backEnd.title}`, async t => {
    if (backEnd.rare && !process.env.MYCELIUM_CLIENTS) return t.skip("make test-clients runs it")
    const missing = await backEnd.missing()
    if (missing && process.env.CI !== "true") return t.skip(missing)
    assert.equal(missing, undefined)
    await suite(t, await Chat.start(new Scope(t), backEnd))
  })
}

browserTest("examples/backends: the page, for a member and a moderator", async t => {
  const scope = new Scope(t)
  const chat = await Chat.start(scope, backEnds[0])
  const visit = async name => {
    const page = await openWindow(scope, {viewport: {width: 720, height: 420}})
    await page.goto(`${chat.http}/?as=${name}&server=${chat.server.http.replace("127.0.0.1", "localhost")}`)
    await until(`${name} is connected`, async () => await text(page, "#state") === `Connected as ${name}`, () => text(page, "body"))
    return page
  }
  const text = (page, selector) => page.locator(selector).textContent()
  const say = async (page, body) => {
    await page.fill("#text", body)
    await page.press("#text", "Enter")
  }
  const becomes = (page, selector, wanted) => {
    const look = () => page.locator(selector).allTextContents()
    return until(`${selector} becomes ${wanted}`, async () => same(await look(), wanted), look)
  }
  const [ann, bob, mia] = [await visit("ann"), await visit("bob"), await visit("mia")]
  await becomes(mia, "#people li", ["annPut out", "bobPut out", "mia"])
  await becomes(ann, "#people li", ["ann", "bob", "mia"])
  await say(ann, "Darn, the build is red again.")
  await becomes(mia, "#log li", ["ann****, the build is red again."])
  await say(bob, "Cheap builds at https://example.com")
  await becomes(bob, "#log li", ["ann****, the build is red again.", "only moderators post links"])
  await mia.locator("#people li", {hasText: "bob"}).getByRole("button").click()
  await becomes(mia, "#log li", ["ann****, the build is red again.", "bob was put out"])
  await until("bob's page says so", async () => await text(bob, "#state") === "Not connected")
  await becomes(mia, "#people li", ["annPut out", "mia"])
  if (process.env.PICTURES) await mia.screenshot({path: fileURLToPath(new URL("../../docs/pictures/backends.png", import.meta.url))})
  await bob.reload()
  await until("bob may not log in", async () => await text(bob, "#state") === "bob may not log in", () => text(bob, "#state"))
  bob.troubles.length = 0 // the browser reports the 403 of the login
  for (const page of [ann, bob, mia]) assert.deepEqual(page.troubles, [])
})
