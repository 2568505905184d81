// docs/api.md, "One user": a client that has joined nothing is sent what a back end pushes to it, and broadcasts of a topic that the
// back end has subscribed it to. Unchanged phoenix.js of each version gives them to a channel that was made and never joined, and to
// socket.onMessage.

import assert from "node:assert/strict"
import {createRequire} from "node:module"
import test from "node:test"
import WebSocket from "ws"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

const require = createRequire(import.meta.url)
const packages = ["phoenix-1.2.1", "phoenix-1.3.5", "phoenix-1.4.17", "phoenix-1.5.14", "phoenix-1.6.16", "phoenix-1.7.23", "phoenix-1.8.0", "phoenix"]

/** Returns the Socket of a package: those before 1.6 expect a browser's window when they are loaded. */
function socketOf(name) {
  globalThis.window ??= globalThis
  return require(name).Socket
}

/** Ends the timers that clients leave running when they disconnect, as 1.5 does. */
function endTimers(scope) {
  const timers = [], real = {setTimeout, setInterval}
  for (const name of Object.keys(real)) {
    globalThis[name] = (...args) => {
      const timer = real[name](...args)
      timers.push(timer)
      return timer
    }
  }
  scope.defer(() => {
    Object.assign(globalThis, real)
    timers.forEach(clearTimeout) // of intervals too
  })
}

test("phoenix.js is sent messages of a topic that it has not joined", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope, "mycelium")
  endTimers(scope)
  const call = async (path, body) => {
    const headers = await server.headers({"Content-Type": "application/json"})
    const answer = await fetch(`${server.http}/api/instances/default/${path}`, body ? {method: "POST", headers, body: JSON.stringify(body)} : {headers})
    assert.ok(answer.ok, `${path}: ${answer.status}`)
    return answer
  }
  for (const name of packages) {
    const Socket = socketOf(name)
    const socket = new Socket(`ws://${server.address}/socket`, {transport: WebSocket})
    const got = []
    socket.onMessage(({topic, event, payload}) => { if (topic === "notices") got.push(`socket ${event} ${payload.n}`) })
    socket.channel("notices", {}).on("notice", ({n}) => got.push(`channel ${n}`))
    socket.connect()
    let sockets = []
    while (sockets.length !== 1) sockets = (await (await call("sockets")).json()).sockets
    const mine = {socket: sockets[0].socket, topic: "notices"}
    await call("push", {...mine, event: "notice", payload: {n: 1}})
    await call("subscribe", mine)
    await call("broadcast", {topic: "notices", event: "notice", payload: {n: 2}})
    const want = ["channel 1", "socket notice 1", "channel 2", "socket notice 2"]
    await until(`${name} has both`, () => got.length === want.length, () => JSON.stringify(got))
    assert.deepEqual(got, want, name)
    socket.disconnect()
    await until(`${name} is gone`, async () => (await (await call("sockets")).json()).sockets.length === 0)
  }
})
