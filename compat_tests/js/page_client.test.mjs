// What the pages speak with: npm's phoenix as it is, and their few lines around it.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import test from "node:test"
import {Socket} from "phoenix"
import {WebSocket} from "ws"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

const asset = name => fs.readFile(new URL(`../../internal/site/assets/${name}`, import.meta.url))
const npm = name => fs.readFile(new URL(`node_modules/phoenix/${name}`, import.meta.url))

// As data: its folder has no package.json that would tell Node it is a module.
const {connect, join, PushError, reconnectAfterMs, request} = await import(`data:text/javascript;base64,${(await asset("connection.js")).toString("base64")}`)

test("page: its phoenix.js is the one of npm, with its licence", async () => {
  assert.ok((await asset("phoenix.js")).equals(await npm("priv/static/phoenix.mjs")), "cp node_modules/phoenix/priv/static/phoenix.mjs ../../internal/site/assets/phoenix.js")
  assert.ok((await asset("phoenix-license.txt")).equals(await npm("LICENSE.md")), "cp node_modules/phoenix/LICENSE.md ../../internal/site/assets/phoenix-license.txt")
})

test("page: it comes back as phoenix.js does, but not at the same moment as everybody else", () => {
  const own = new Socket("ws://127.0.0.1:1/socket", {transport: WebSocket})
  for (let tries = 1; tries <= 12; tries++) {
    const step = own.reconnectAfterMs(tries), pauses = Array.from({length: 100}, () => reconnectAfterMs(tries))
    assert.ok(pauses.every(pause => pause >= step / 2 && pause < step * 1.5), `${tries}: ${pauses} for ${step}`)
    assert.ok(Math.max(...pauses) - Math.min(...pauses) > step / 2, `${tries}: ${pauses} for ${step}`)
  }
})

/** A user of one topic: what the page would show, as `seen`. */
function open(scope, endpoint, topic, options = {}) {
  const socket = new Socket(endpoint, {transport: WebSocket, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20, ...options})
  scope.defer(() => { socket.disconnect() })
  const seen = {states: [], joins: 0, refusals: []}
  const channel = socket.channel(topic, {user: "ada"})
  join(channel, {joined: () => { seen.joins++ }, refused: reason => seen.refusals.push(reason)})
  connect(socket, state => seen.states.push(state))
  return {channel, seen}
}

test("page: a push is answered, refused or lost, and says which", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const proxy = await startProxy(scope, server.port)
  const {channel, seen} = open(scope, proxy.endpoint, "room:lobby")
  await assert.rejects(request(channel, "new_msg"), new PushError("disconnected"))
  await until("it has joined", () => seen.joins === 1, () => seen)
  assert.deepEqual(await request(channel, "new_msg", {body: "hello"}), {})

  proxy.freeze()
  const lost = assert.rejects(request(channel, "new_msg", {body: "lost"}), new PushError("disconnected"))
  proxy.kill()
  await lost
  proxy.heal()
  await until("it has joined again", () => seen.joins === 2, () => seen)
  await request(channel, "new_msg", {body: "back"})
  assert.deepEqual([...new Set(seen.states)], ["connecting", "connected", "reconnecting"])
  assert.deepEqual(channel.bindings.filter(({event}) => event === "phx_close").length, 1, "the channel's own: request has let go of its")
})

test("page: a join that is refused says why, each time", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const {channel, seen} = open(scope, server.endpoint, "phoenix:lobby") // a topic of the server's own is never a room
  await until("it has been refused twice", () => seen.refusals.length >= 2, () => seen)
  assert.deepEqual(seen.refusals.slice(0, 2), Array(2).fill("this topic does not exist here; the instance may be of another type"))
  await assert.rejects(request(channel, "new_msg"), new PushError("disconnected"))
})
