// The names that the relay refuses for presence, because they make older versions of phoenix.js throw.

import assert from "node:assert/strict"
import test from "node:test"
import {WebSocket} from "ws"
import * as phoenix from "phoenix"
import * as phoenix16 from "phoenix-1.6.16"
import * as phoenix17 from "phoenix-1.7.23"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"

leaveNothingBehind()

const names = Object.getOwnPropertyNames(Object.prototype)

/** Reports whether a client that gets this name in a state, and then in a diff, handles it. */
function sees({Presence}, name) {
  const somebody = ref => JSON.parse(`{${JSON.stringify(name)}:{"metas":[{"phx_ref":"${ref}"}]}}`)
  const ignore = () => {}
  try {
    const state = Presence.syncState({}, somebody("1"), ignore, ignore)
    const after = Presence.syncDiff(state, {joins: somebody("2"), leaves: {}}, ignore, ignore)
    return Object.hasOwn(after, name) && after[name].metas.length === 2
  } catch {
    return false
  }
}

test("phoenix.js: the names that break its presence", () => {
  for (const name of ["ada", "Constructor", "length", "then", "metas"]) {
    for (const version of [phoenix16, phoenix17, phoenix]) assert.ok(sees(version, name), name)
  }
  for (const name of names) {
    assert.ok(!sees(phoenix16, name) && !sees(phoenix17, name), name)
    assert.ok(sees(phoenix, name), name)
  }
})

test("the relay refuses all of them, with a reason", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const socket = new phoenix.Socket(`ws://${server.address}/socket`, {transport: WebSocket})
  socket.connect()
  scope.defer(() => { socket.disconnect() })
  for (const user of names) {
    const answer = await new Promise((resolve, reject) => {
      const channel = socket.channel(`room:${user}`, {user})
      channel.join().receive("ok", () => reject(new Error(`${user} has joined`))).receive("error", resolve).receive("timeout", () => reject(new Error("timeout")))
    })
    assert.match(answer.reason, /choose another name/)
  }
})
