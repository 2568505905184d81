// What clients missed: npm's phoenix, unchanged, with the four lines of docs/history.md. Its connection is cut at random moments while
// numbers are broadcast; it must get each of them, and twice only those after its last mark.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import test from "node:test"
import {setTimeout as pause} from "node:timers/promises"
import {WebSocket} from "ws"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

const CUTS = Number(process.env.HISTORY_CUTS ?? 8)
const CLIENTS = ["phoenix-1.2.1", "phoenix-1.4.17", "phoenix-1.6.16", "phoenix-1.7.23", "phoenix"]
const TOPIC = "room:1"

// Without join_refs phoenix 1.2.1 takes the end of its earlier join for that of the later one (note 1 in docs/compatibility.md), and it
// joins once more each time that reconnectAfterMs is over before it is connected: it needs a pause in which even a loaded machine connects.
const pauseOf = name => name === "phoenix-1.2.1" ? 1000 : 20

// Versions before 1.5 were written for browsers.
globalThis.window ??= globalThis

async function startRecording(scope) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "history-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const file = path.join(folder, "mycelium.yaml")
  await fs.writeFile(file, "history: {rules: [{topics: ['room:*'], messages: 10000, bytes: 16MiB}]}\n")
  return startServer(scope, "mycelium", {more: ["--config", file]})
}

/** Disconnects; older versions leave the timer of their heartbeats behind. */
const leave = socket => new Promise(resolve => {
  socket.disconnect(resolve)
  setTimeout(resolve, 100)
}).then(() => clearInterval(socket.heartbeatTimer))

/** A client with the lines of docs/history.md, and all that it is sent. */
function open(scope, {Socket}, endpoint, pauseMs) {
  const options = {transport: WebSocket, reconnectAfterMs: () => pauseMs, rejoinAfterMs: () => pauseMs, heartbeatIntervalMs: 60000}
  const socket = new Socket(endpoint, options)
  const seen = {numbers: [], states: [], marks: 0, afterMark: 0, again: new Set()}
  const history = {}
  const room = socket.channel(TOPIC, {history})
  room.on("history_mark", m => { history.after = m.pos; seen.marks++; seen.afterMark = seen.numbers.length })
  room.on("history_state", s => {
    seen.states.push(s)
    for (const n of seen.numbers.slice(seen.afterMark)) seen.again.add(n) // what may come twice
  })
  room.on("n", ({n}) => seen.numbers.push(n))
  socket.connect()
  room.join()
  scope.defer(() => leave(socket))
  return seen
}

for (const name of CLIENTS) {
  const cuts = name === "phoenix-1.2.1" ? CUTS / 2 : CUTS
  test(`${name}: cut ${cuts} times, it gets everything`, async t => {
    const scope = new Scope(t)
    const server = await startRecording(scope)
    const client = await import(name).then(module => module.Socket ? module : module.default)
    const proxy = await startProxy(scope, server.port)
    const seen = open(scope, client, proxy.endpoint, pauseOf(name))
    const publisher = new client.Socket(server.endpoint, {transport: WebSocket, heartbeatIntervalMs: 60000})
    publisher.connect()
    const channel = publisher.channel(TOPIC, {})
    let ready = false
    channel.join().receive("ok", () => { ready = true })
    scope.defer(() => leave(publisher))
    await until("both have joined", () => ready && seen.marks > 0, () => seen)
    let sent = 0
    const publishing = setInterval(() => channel.push("n", {n: sent++}), 10)
    scope.defer(() => clearInterval(publishing))
    for (let cut = 0; cut < cuts; cut++) {
      await pause(50 + Math.random() * 250)
      const states = seen.states.length
      proxy.kill()
      // A client whose join was lost with its connection waits for 10 s until it joins again.
      await until("it is back", () => seen.states.length > states, () => seen.states, {patienceMs: 30_000})
    }
    clearInterval(publishing)
    const last = sent - 1
    await until("it has the last number", () => seen.numbers.includes(last), () => seen.numbers.slice(-20))
    assert.deepEqual(seen.states.filter(({recovered}) => !recovered), [], "nothing was missing")
    assert.deepEqual([...new Set(seen.numbers)].sort((a, b) => a - b), Array.from({length: sent}, (_, n) => n), "no number is missing")
    const counts = new Map()
    for (const n of seen.numbers) counts.set(n, (counts.get(n) ?? 0) + 1)
    const twice = [...counts].filter(([n, count]) => count > 1 && !seen.again.has(n)).map(([n]) => n)
    assert.deepEqual(twice, [], "numbers before the last mark came twice")
    t.diagnostic(`${sent} numbers, ${seen.numbers.length - sent} of them again, ${seen.marks} marks, ${seen.states.length} joins`)
  })
}
