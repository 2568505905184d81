// The small client of the page, in Node: its presence does what phoenix.js's does, its channel survives the network.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import test from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

// As data: their folder has no package.json that would tell Node they are modules.
async function asset(name) {
  const code = await fs.readFile(new URL(`../../internal/site/assets/${name}`, import.meta.url))
  return import(`data:text/javascript;base64,${code.toString("base64")}`)
}

const {Socket, PushError} = await asset("channel.js")
const {Presence} = await asset("presence.js")

// mulberry32: the same walk for a seed, on every machine.
function random(seed) {
  return n => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

const KEYS = ["ada", "grace", "1", "__proto__", "constructor"]

function randomPresences(pick) {
  const presences = {}
  for (const key of KEYS) {
    if (pick(2)) continue
    const metas = Array.from({length: pick(3) + 1}, () => ({phx_ref: String(pick(6)), n: pick(100)}))
    Object.defineProperty(presences, key, {value: {metas, user: {n: pick(100)}}, enumerable: true, configurable: true})
  }
  return presences
}

// A channel for either Presence: phoenix.js asks for joinRef(), ours for joinRef.
class FakeChannel {
  constructor(asFunction) {
    this.handlers = {}
    this.current = "1"
    Object.defineProperty(this, "joinRef", {get: () => (asFunction ? () => this.current : this.current)})
  }

  on(event, handler) { this.handlers[event] = handler }
}

function follow(channel, presence, hook) {
  const heard = []
  const plain = value => JSON.stringify(value ?? null)
  hook(presence, {
    onJoin: (key, before, joined) => heard.push(`join ${key} ${plain(before)} ${plain(joined)}`),
    onLeave: (key, after, left) => heard.push(`leave ${key} ${plain(after)} ${plain(left)}`),
    onSync: () => heard.push(`sync ${plain(presence.state)}`),
  })
  return {channel, presence, heard}
}

test("page: its Presence hears and keeps what phoenix.js's does, state by state and diff by diff", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const pick = random(seed)
    const theirsOn = new FakeChannel(true), oursOn = new FakeChannel(false)
    const theirs = follow(theirsOn, new phoenix.Presence(theirsOn), (presence, hooks) => {
      for (const [name, hook] of Object.entries(hooks)) presence[name](hook)
    })
    const ours = follow(oursOn, new Presence(oursOn), Object.assign)
    for (let turn = 0; turn < 30; turn++) {
      if (pick(6) === 0) theirsOn.current = oursOn.current = String(turn + 2) // a rejoin: diffs wait for its state
      const [event, payload] = pick(4) === 0
        ? ["presence_state", randomPresences(pick)]
        : ["presence_diff", {joins: randomPresences(pick), leaves: randomPresences(pick)}]
      for (const {channel} of [theirs, ours]) channel.handlers[event](JSON.parse(JSON.stringify(payload)))
      const [heard, expected] = [ours, theirs].map(one => one.heard.splice(0).join("\n"))
      assert.equal(heard, expected, `seed ${seed}, turn ${turn}`)
      assert.equal(JSON.stringify(ours.presence.state), JSON.stringify(theirs.presence.state), `seed ${seed}, turn ${turn}`)
    }
  }
})

function connect(scope, endpoint, options = {}) {
  const states = []
  const socket = new Socket(endpoint, {WebSocket, onState: state => states.push(state), ...options})
  scope.defer(() => socket.disconnect())
  socket.connect()
  return {socket, states}
}

function joinLobby(socket, user) {
  const channel = socket.channel("room:lobby", {user, meta: {}})
  const heard = []
  channel.on("new_msg", payload => heard.push(payload.body))
  const presence = new Presence(channel)
  channel.join()
  return {channel, presence, heard, here: () => Object.keys(presence.state).sort().join()}
}

test("page: its client joins, talks, leaves and is refused", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const {socket, states} = connect(scope, server.endpoint)
  const ada = joinLobby(socket, "ada")
  const grace = joinLobby(connect(scope, server.endpoint).socket, "grace")
  await until("both see both", () => ada.here() === "ada,grace" && grace.here() === "ada,grace")

  assert.deepEqual(await ada.channel.push("new_msg", {body: "hello"}), {})
  await until("grace hears it", () => grace.heard.includes("hello"))
  await assert.rejects(socket.channel("room:other").push("new_msg", {}), new PushError("disconnected"))

  await ada.channel.leave()
  await until("grace is alone", () => grace.here() === "grace")
  await assert.rejects(ada.channel.push("new_msg", {}), PushError)
  assert.deepEqual(states, ["connecting", "connected"])

  // A topic of the server's own is never a room.
  const reserved = socket.channel("phoenix:lobby")
  let refusal
  reserved.onRefused = error => { refusal = error }
  reserved.join()
  await until("the join is refused", () => refusal)
  assert.equal(refusal.reason, "error")
  assert.equal(typeof refusal.response.reason, "string")
})

test("page: its client comes back from a killed, a refused and a silent connection", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const proxy = await startProxy(scope, server.port)
  const grace = joinLobby(connect(scope, server.endpoint).socket, "grace")
  const {socket, states} = connect(scope, proxy.endpoint, {heartbeatMs: 200})
  const ada = joinLobby(socket, "ada")
  const both = () => ada.here() === "ada,grace" && grace.here() === "ada,grace" && ada.channel.state === "joined"
  await until("both see both", both)

  proxy.refuse()
  proxy.kill()
  await until("grace is alone", () => grace.here() === "grace")
  await assert.rejects(ada.channel.push("new_msg", {body: "lost"}), new PushError("disconnected"))
  proxy.heal()
  await until("both see both again", both)

  const before = proxy.accepted
  proxy.freeze()
  await until("unanswered heartbeats make it reconnect", () => proxy.accepted > before)
  await until("both see both once more", both)
  await ada.channel.push("new_msg", {body: "back"})
  await until("grace hears it", () => grace.heard.includes("back"))
  assert.deepEqual(new Set(states), new Set(["connecting", "connected", "reconnecting"]))
})
