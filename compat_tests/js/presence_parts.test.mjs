// A presence_state that does not fit into one message: the server sends a state, then diffs whose joins are the rest. Every version of
// phoenix merges them to the list that it would get from one message.

import assert from "node:assert/strict"
import test from "node:test"
import WebSocket from "ws"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

const VERSIONS = ["phoenix-1.2.1", "phoenix-1.3.5", "phoenix-1.4.17", "phoenix-1.5.14", "phoenix-1.6.16", "phoenix-1.7.23", "phoenix"]
const MEMBERS = 150
const MAX_PAYLOAD = 256 * 1024

/** A member whose presence messages are kept, as event and payload. */
async function join(scope, server, user, meta) {
  const socket = new WebSocket(`ws://${server.address}/socket/websocket?vsn=2.0.0`)
  scope.defer(() => socket.terminate())
  const messages = []
  socket.on("message", text => {
    const [, , , event, payload] = JSON.parse(text)
    // The state includes diffs about somebody who joined just before: clients apply these after the state.
    if (event === "presence_state" || event === "presence_diff" && messages.length > 0) messages.push({event, payload})
  })
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject))
  socket.send(JSON.stringify(["1", "1", "room:crowd", "phx_join", {user, meta}]))
  await until(`the state of ${user}`, () => messages.length > 0)
  return messages
}

/** Returns the list that a version gets from the messages, with the functions of its Presence. */
function merged(Presence, messages, told) {
  const onJoin = key => told.joined.push(key), onLeave = key => told.left.push(key)
  let state = {}
  for (const {event, payload} of structuredClone(messages)) {
    state = event === "presence_state"
      ? Presence.syncState(state, payload, onJoin, onLeave)
      : Presence.syncDiff(state, payload, onJoin, onLeave)
  }
  return Presence.list(state, (user, {metas}) => ({user, metas}))
}

/** The same as one message. */
function whole(messages) {
  const state = {}
  for (const {event, payload} of messages) {
    for (const [key, {metas}] of Object.entries(event === "presence_state" ? payload : payload.joins)) {
      state[key] = {metas: [...state[key]?.metas ?? [], ...metas]}
    }
  }
  return [{event: "presence_state", payload: state}]
}

test("a large presence_state comes in parts that every version of phoenix merges", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope, "mycelium")
  const about = "x".repeat(4000)
  for (let i = 0; i < MEMBERS; i++) await join(scope, server, `user-${i % 120}`, {about, i})
  const messages = await join(scope, server, "last", {about, i: MEMBERS})
  const count = () => Object.values(whole(messages)[0].payload).flatMap(({metas}) => metas).length
  await until("the whole state", () => count() === MEMBERS + 1, count)

  assert.ok(messages.length > 2, `${messages.length} messages`)
  assert.deepEqual(messages.map(({event}) => event), ["presence_state", ...messages.slice(1).map(() => "presence_diff")])
  for (const {event, payload} of messages) {
    assert.ok(JSON.stringify(payload).length <= MAX_PAYLOAD)
    if (event === "presence_diff") assert.deepEqual(payload.leaves, {})
  }
  globalThis.window ??= globalThis // older versions need it when they are loaded
  for (const version of VERSIONS) {
    const module = await import(version)
    const Presence = module.Presence ?? module.default.Presence
    const told = {joined: [], left: []}
    const list = merged(Presence, messages, told)
    assert.deepEqual(list, merged(Presence, whole(messages), {joined: [], left: []}), version)
    assert.equal(list.length, 121, version)
    assert.deepEqual([...new Set(told.joined)].sort(), list.map(({user}) => user).sort(), `${version}: who has joined`)
    assert.deepEqual(told.left, [], `${version}: nobody leaves`)
  }
})
