// Back ends decide over webhooks, and phoenix.js gets what they say: also when they hang, fail or are gone.

import assert from "node:assert/strict"
import {spawn} from "node:child_process"
import {randomBytes} from "node:crypto"
import {once} from "node:events"
import fs from "node:fs/promises"
import http from "node:http"
import os from "node:os"
import path from "node:path"
import test, {describe} from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {freePort} from "./addresses.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const SECRET = `whsec_${randomBytes(32).toString("base64")}`
const PATIENT = "9s" // for back ends that answer: a busy machine takes its time
const IMPATIENT = "1s" // for one that does not

const guide = await fs.readFile(new URL("../../docs/backends.md", import.meta.url), "utf8")

/** Returns the first block of code in a language below a heading of docs/backends.md. */
function snippet(heading, language) {
  const [, code] = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "ms").exec(guide.slice(guide.indexOf(`\n## ${heading}\n`)))
  return code
}

const {verify} = await import(`data:text/javascript,${encodeURIComponent(`${snippet("Signatures", "js")}\nexport {verify}`)}`)

/** A back end in Node. `answer` takes a request and the response; what it returns is sent as JSON, unless it is undefined. */
class BackEnd {
  static async start(scope, answer) {
    const b = new BackEnd()
    b.answer = answer
    b.requests = []
    b.refused = 0
    b.server = http.createServer((request, response) => b.handle(request, response))
    scope.defer(() => b.stop())
    await b.listen(await freePort()) // it is stopped and started again
    return b
  }

  async listen(port) {
    this.server.listen(port, "127.0.0.1")
    await once(this.server, "listening")
    this.port = this.server.address().port
  }

  async handle(request, response) {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    if (!verify(SECRET, request.headers, body)) {
      this.refused++
      response.writeHead(401).end()
      return
    }
    const r = JSON.parse(body)
    this.requests.push(r)
    const said = await this.answer(r, response)
    if (said !== undefined && !response.writableEnded) response.setHeader("content-type", "application/json").end(JSON.stringify(said))
  }

  asked(type) { return this.requests.filter(r => r.type === type) }

  async stop() {
    if (!this.server.listening) return
    const closed = once(this.server, "close")
    this.server.close()
    this.server.closeAllConnections()
    await closed
  }
}

/** A server whose default instance has hooks. */
async function serve(scope, hooks, more = []) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "hooks-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const file = path.join(folder, "mycelium.yaml")
  await fs.writeFile(file, JSON.stringify({hooks})) // JSON is YAML
  return startServer(scope, "mycelium", {more: ["--config", file, ...more]})
}

const hook = (backEnd, more) => ({url: `http://127.0.0.1:${backEnd.port}/mycelium`, secret: SECRET, timeout: PATIENT, ...more})

function connect(scope, server, params = {}) {
  const socket = new phoenix.Socket(server.endpoint, {params, transport: WebSocket, reconnectAfterMs: () => 50, rejoinAfterMs: () => 50})
  scope.defer(() => new Promise(resolve => socket.disconnect(resolve)))
  socket.connect()
  return socket
}

const answered = push => new Promise(resolve => {
  for (const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve({status, response}))
})

/** Joins a topic once, and leaves it alone if it is refused. */
async function join(socket, topic, params = {}) {
  const channel = socket.channel(topic, params)
  const events = []
  channel.onMessage = (event, payload) => {
    if (!/^(phx_|chan_reply_)/.test(event)) events.push({event, payload})
    return payload
  }
  const reply = await answered(channel.join())
  if (reply.status !== "ok") channel.leave()
  return {channel, reply, events, push: (event, payload = {}) => answered(channel.push(event, payload))}
}

// The users and rooms of a team's own database.
const users = {"ann-key": {name: "ann", rooms: ["room:1"]}, "bob-key": {name: "bob", rooms: ["room:1", "room:2"]}}

function decide(r) {
  const user = users[r.params.key]
  switch (r.type) {
    case "connect":
      return user ? {allow: true, socket_id: `users:${user.name}`, assigns: {user: user.name}} : {allow: false, reply: {reason: "who are you?"}}
    case "join":
      if (!user.rooms.includes(r.topic)) return {allow: false, reply: {reason: "not a member"}}
      return {allow: true, reply: {history: ["hello"]}, track: {key: user.name, meta: {color: "red"}}, assigns: {joined: r.topic}}
    case "event":
      if (r.event === "new_msg" && r.payload.body.includes("spam")) return {allow: false, reply: {reason: "no spam"}}
      if (r.event === "new_msg") return {allow: true, payload: {body: r.payload.body.toUpperCase(), from: r.assigns.user, room: r.assigns.joined}}
      return {allow: true, reply: {answer: 42}, push: [{event: "for_you"}], broadcast: [{event: "asked", payload: {by: r.assigns.user}, others: true}]}
  }
}

test("a back end decides who connects, joins and speaks", async t => {
  const scope = new Scope(t)
  const backEnd = await BackEnd.start(scope, decide)
  const server = await serve(scope, [hook(backEnd, {on: ["connect", "join", "event"], topics: ["room:*"], events: ["new_msg", "ask"]})])

  const stranger = connect(scope, server, {key: "wrong"})
  let refused = 0
  stranger.onError(() => { refused++ })
  await until("the stranger is refused", () => refused > 0, () => server.lines)
  assert.equal(stranger.isConnected(), false)

  const ann = await join(connect(scope, server, {key: "ann-key"}), "room:1")
  const bob = await join(connect(scope, server, {key: "bob-key"}), "room:1")
  assert.deepEqual(ann.reply, {status: "ok", response: {history: ["hello"]}})
  const {reply} = await join(ann.channel.socket, "room:2")
  assert.deepEqual(reply, {status: "error", response: {reason: "not a member"}})

  const state = () => bob.events.find(({event}) => event === "presence_state")?.payload ?? {}
  await until("bob sees who is there", () => same(Object.keys(state()).sort(), ["ann", "bob"]), () => bob.events)
  assert.equal(state().ann.metas[0].color, "red")

  assert.deepEqual(await ann.push("new_msg", {body: "buy spam"}), {status: "error", response: {reason: "no spam"}})
  assert.deepEqual(await ann.push("new_msg", {body: "hi"}), {status: "ok", response: {}})
  const heard = name => bob.events.filter(({event}) => event === name).map(({payload}) => payload)
  await until("bob hears ann", () => same(heard("new_msg"), [{body: "HI", from: "ann", room: "room:1"}]), () => bob.events)
  assert.deepEqual(await ann.push("ask"), {status: "ok", response: {answer: 42}})
  await until("bob hears of the question", () => same(heard("asked"), [{by: "ann"}]), () => bob.events)
  await until("ann is pushed to", () => ann.events.some(({event}) => event === "for_you"), () => ann.events)
  assert.ok(!ann.events.some(({event}) => event === "asked"))
  assert.deepEqual(await ann.push("cursor", {x: 1}), {status: "ok", response: {}})
  await until("what no hook is for is relayed", () => same(heard("cursor"), [{x: 1}]), () => bob.events)

  const [first] = backEnd.asked("event")
  assert.deepEqual({...first, id: undefined}, {
    v: 1, id: undefined, type: "event", instance: "default", topic: "room:1", event: "new_msg", payload: {body: "buy spam"}, socket_id: "users:ann",
    assigns: {user: "ann", joined: "room:1"}, params: {key: "ann-key"}, address: "127.0.0.1", transport: "websocket",
  })
  assert.equal(backEnd.refused, 0)
})

// The parts of an application that its back end in docs/backends.md needs.
const CHAT = `
class chat:
    stored = []
    user_of_token = staticmethod({"a": "ann", "b": "bob"}.get)
    is_member = staticmethod(lambda room, user: room == "1")
    messages = staticmethod(lambda room: chat.stored)

    @staticmethod
    def store(room, user, body):
        chat.stored.append({"id": len(chat.stored) + 1, "room": room, "user": user, "body": body})
        return chat.stored[-1]
`

/** Runs the back end of docs/backends.md in Python, and returns its port; undefined without Python. */
async function startPython(scope) {
  const serving = 'ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()'
  const code = snippet("Coming from Phoenix", "python")
  assert.ok(code.includes(serving))
  const program = [snippet("Signatures", "python"), CHAT, `SECRET = ${JSON.stringify(SECRET)}`, code.replace(serving, `
Handler.log_message = lambda *_: None
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()`)].join("\n")
  const child = spawn("python3", ["-c", program], {stdio: ["ignore", "pipe", "inherit"]})
  const [first] = await Promise.race([once(child, "error").then(([error]) => [error]), once(child.stdout, "data")])
  if (first instanceof Error) return undefined
  scope.defer(async () => {
    const exit = once(child, "exit")
    child.kill("SIGKILL")
    await exit
  })
  return Number(String(first))
}

test("docs/backends.md: the RoomChannel as a back end in Python", async t => {
  const scope = new Scope(t)
  const port = await startPython(scope)
  if (port === undefined && !process.env.CI) return t.skip("needs python3")
  const server = await serve(scope, [hook({port}, {on: ["connect", "join", "event"]})], ["--topics", "room:*"])
  const ann = await join(connect(scope, server, {token: "a"}), "room:1")
  const bob = await join(connect(scope, server, {token: "b"}), "room:1")
  assert.deepEqual(ann.reply, {status: "ok", response: {messages: []}})
  assert.deepEqual((await join(bob.channel.socket, "room:2")).reply, {status: "error", response: {reason: "members only"}})
  assert.deepEqual((await join(bob.channel.socket, "1")).reply, {status: "error", response: {reason: "unmatched topic"}}) // as Phoenix says
  assert.deepEqual(await ann.push("new_msg", {body: "spam"}), {status: "error", response: {reason: "no spam"}})
  assert.deepEqual(await ann.push("new_msg", {body: "hi"}), {status: "ok", response: {id: 1}})
  assert.deepEqual(await ann.push("typing"), {status: "ok", response: {}})
  assert.deepEqual(await ann.push("status", {status: "away"}), {status: "ok", response: {}})
  assert.deepEqual(await ann.push("new_msg", null), {status: "error", response: {reason: "unauthorized"}})
  assert.deepEqual(await ann.push("else"), {status: "error", response: {reason: "unauthorized"}})
  const heard = of => of.events.filter(({event}) => !event.startsWith("presence_")).map(({event, payload}) => [event, payload])
  const message = ["new_msg", {id: 1, room: "1", user: "ann", body: "hi"}]
  await until("bob hears ann", () => same(heard(bob), [message, ["typing", {user: "ann"}]]), () => bob.events)
  assert.deepEqual(heard(ann), [message])
  const told = event => bob.events.filter(e => e.event === event).map(({payload}) => payload)
  await until("bob sees that ann is away", () => told("presence_diff").some(({joins}) => joins.ann?.metas[0].status === "away"), () => bob.events)
  assert.deepEqual(Object.keys(told("presence_state")[0]).sort(), ["ann", "bob"])
})

// What a client gets when the back end does its worst; meanwhile a topic without hooks goes on.
describe("a bad back end", {concurrency: 2}, () => {
  const bad = {
    "hangs": () => undefined,
    "answers 500": (_, response) => { response.writeHead(500).end() },
    "closes half-way": (_, response) => { response.writeHead(200, {"content-length": 100}).write('{"allow":tr'); setImmediate(() => response.destroy()) },
    "answers 10 MB": (_, response) => { response.end(`{"allow":true,"reply":"${"x".repeat(10 << 20)}"}`) },
    "redirects": (_, response) => { response.writeHead(307, {location: "http://127.0.0.1:1/"}).end() },
    "speaks garbage": (_, response) => { response.socket.end("220 smtp.example.com ESMTP\r\n") },
    "answers HTML": (_, response) => { response.setHeader("content-type", "text/html").end("<h1>Welcome</h1>") },
  }
  for (const [name, answer] of Object.entries(bad)) {
    test(name, async t => {
      const scope = new Scope(t)
      const backEnd = await BackEnd.start(scope, answer)
      const server = await serve(scope, [hook(backEnd, {on: ["join", "event"], topics: ["decided:*", "said:*"], timeout: name === "hangs" ? IMPATIENT : PATIENT})])
      const socket = connect(scope, server)
      const free = await join(socket, "free")
      const asking = join(socket, "decided:1")
      assert.deepEqual(await free.push("hi"), {status: "ok", response: {}}) // while the other topic waits
      assert.deepEqual((await asking).reply, {status: "error", response: {reason: "unavailable"}})

      backEnd.answer = () => ({allow: true})
      const said = await until("a join is allowed", async () => {
        const tried = await join(socket, "said:1")
        return tried.reply.status === "ok" && tried
      }, () => server.lines)
      await until("an event is allowed", async () => (await said.push("hi")).status === "ok", () => server.lines)
    })
  }
})

test("a back end that is away, and comes back", async t => {
  const scope = new Scope(t)
  const backEnd = await BackEnd.start(scope, () => ({allow: true}))
  const server = await serve(scope, [
    hook(backEnd, {on: ["connect"], while_away: "allow", name: "lenient"}),
    hook(backEnd, {on: ["join"], topics: ["strict:*"], name: "strict"}),
  ])
  const before = await join(connect(scope, server), "strict:1")
  assert.equal(before.reply.status, "ok")
  await backEnd.stop()
  const sockets = [1, 2, 3, 4, 5, 6].map(() => connect(scope, server)) // they may connect all the same
  const refused = await Promise.all(sockets.map(socket => join(socket, "strict:1")))
  for (const {reply} of refused) assert.deepEqual(reply, {status: "error", response: {reason: "unavailable"}})
  await until("the server leaves it alone", () => server.lines.some(line => line.includes("considered away")), () => server.lines)
  assert.deepEqual(await before.push("still"), {status: "ok", response: {}})

  // A client that phoenix.js has join again by itself gets in when the back end is back.
  const patient = sockets[0].channel("strict:2")
  const joined = new Promise(resolve => { patient.join().receive("ok", resolve) })
  await backEnd.listen(backEnd.port)
  await joined
})

test("a client goes by the name that the back end has given it", async t => {
  const scope = new Scope(t)
  const backEnd = await BackEnd.start(scope, () => ({allow: true, assigns: {user: "ann"}}))
  const server = await serve(scope, [hook(backEnd, {on: ["connect"]})])
  const {events} = await join(connect(scope, server, {user: "bob"}), "room:1", {user: "carol"})
  const state = await until("it is told who is there", () => events.find(({event}) => event === "presence_state"), () => events)
  assert.deepEqual(Object.keys(state.payload), ["ann"])
  const answer = await fetch(`${server.http}/api/instances/default/disconnect`, {
    method: "POST", headers: await server.headers({"Content-Type": "application/json"}), body: JSON.stringify({user: "ann"}),
  })
  assert.ok(answer.ok, await answer.text())
})

test("a back end is shown phoenix.js's authToken", async t => {
  const scope = new Scope(t)
  const backEnd = await BackEnd.start(scope, r => ({allow: r.type === "join" || r.auth_token === "ann's token"}))
  const server = await serve(scope, [hook(backEnd, {on: ["connect", "join"]})])
  const socket = new phoenix.Socket(server.endpoint, {authToken: "ann's token", transport: WebSocket})
  scope.defer(() => new Promise(resolve => socket.disconnect(resolve)))
  socket.connect()
  assert.equal((await join(socket, "room:1")).reply.status, "ok")
  assert.equal(backEnd.asked("join")[0].auth_token, undefined) // it is a matter of the connection
})

test("a connection lasts as long as the back end prolongs it", async t => {
  const scope = new Scope(t)
  let refreshed = 0
  const backEnd = await BackEnd.start(scope, r => {
    if (r.type === "connect") return {allow: true, expires_in: 0.4}
    return refreshed++ === 0 ? {allow: true, expires_in: 0.4} : {allow: false}
  })
  const server = await serve(scope, [hook(backEnd, {on: ["connect", "refresh"]})])
  const socket = connect(scope, server)
  const codes = []
  socket.onClose(event => codes.push(event.code))
  await until("it is closed", () => codes.length > 0, () => backEnd.requests)
  assert.equal(codes[0], 1008)
  assert.ok(refreshed >= 2)
})

test("a reload changes the hooks of new connections", async t => {
  const scope = new Scope(t)
  const backEnd = await BackEnd.start(scope, () => ({allow: false, reply: {reason: "closed"}}))
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "hooks-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const file = path.join(folder, "mycelium.yaml")
  await fs.writeFile(file, "{}")
  const server = await startServer(scope, "mycelium", {more: ["--config", file]})
  const old = await join(connect(scope, server), "room:1")
  await fs.writeFile(file, JSON.stringify({hooks: [hook(backEnd, {on: ["join"]})]}))
  server.child.kill("SIGHUP")
  await until("it reloads", () => server.lines.some(line => line.includes("configuration reloaded")), () => server.lines)
  assert.deepEqual((await join(connect(scope, server), "room:1")).reply, {status: "error", response: {reason: "closed"}})
  assert.equal((await old.push("hi")).status, "ok") // it has not been disconnected
})
