// Supabase's clients for JavaScript, unchanged, against the type realtime; npm's phoenix beside them; and the snippet of the guide.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import test from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {snippetsOf, start} from "./snippet.mjs"
import {BEHAVIOURS} from "./supabase/behaviours.mjs"
import {CLIENTS} from "./supabase/clients.mjs"
import {KEY, Lab, startRealtime, watch} from "./supabase/lab.mjs"
import {readTable} from "./supabase/table.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

for (const client of CLIENTS) {
  test(client.name, {concurrency: true}, async t => {
    const table = await readTable()
    assert.deepEqual(table.behaviours, Object.keys(BEHAVIOURS), "docs/compatibility.md has the same behaviours")
    const server = await startRealtime(new Scope(t))
    await Promise.all(Object.entries(BEHAVIOURS).map(([name, behaviour]) => t.test(name, async t => {
      const missing = await behaviour(new Lab(new Scope(t), server, client))
      assert.equal(table.cell(name, client.name), missing ? "–" : "yes", "docs/compatibility.md")
    })))
  })
}

// A WebSocket that does with an error in a handler what a browser does: it reports the error and goes on.
const reporting = errors => class extends WebSocket {
  set onmessage(handle) {
    super.onmessage = event => { try { handle(event) } catch (error) { errors.push(error) } }
  }
}

// What a stock client of Phoenix sees: it joins, is told that no changes come, and gets all that is sent as text.
for (const [vsn, module] of [["2.0.0", phoenix], ["1.0.0", await import("phoenix-1.2.1")]]) {
  test(`phoenix.js, version ${vsn}, beside realtime-js`, async t => {
    const scope = new Scope(t)
    const lab = new Lab(scope, await startRealtime(scope), CLIENTS[1])
    const room = lab.named("room")
    const {Socket} = module.default ?? module
    const errors = []
    const socket = new Socket(lab.server.endpoint, {params: {apikey: KEY}, transport: reporting(errors)})
    socket.connect()
    scope.defer(() => {
      socket.disconnect()
      clearInterval(socket.heartbeatTimer) // 1.2.1 leaves it
    })
    const channel = socket.channel(`realtime:${room}`, {})
    const came = []
    channel.onMessage = (event, payload) => {
      if (!event.startsWith("phx_") && !event.startsWith("chan_reply_")) came.push([event, payload instanceof ArrayBuffer ? "bytes" : payload])
      return payload
    }
    const answered = push => new Promise(resolve => {
      for (const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve([status, response]))
    })
    const [status, {postgres_changes: [{id, ...change}, ...more]}] = await answered(channel.join())
    assert.deepEqual([status, change, more, typeof id], ["ok", {schema: room}, [], "number"])
    await until("it is told that no changes come", () => came.length === 1, () => came)
    const [[event, system]] = came.splice(0)
    assert.deepEqual([event, system.status, system.extension, system.channel], ["system", "error", "postgres_changes", room])

    const [ada, old] = [await lab.enter(room, {presence: {key: "ada", enabled: true}}), await lab.enter(room, {}, {client: lab.other})]
    assert.deepEqual(await answered(channel.push("presence", {event: "track", payload: {at: 1}})), ["ok", {}])
    await until("it is in the list of realtime-js", () => Object.keys(ada.channel.presenceState()).length === 1)
    await until("and gets the diff", () => came.length === 1 && came[0][0] === "presence_diff", () => came)
    channel.push("broadcast", {type: "broadcast", event: "hello", payload: {n: 1}})
    for (const seen of [ada, old]) {
      await until("its broadcast arrives", () => same(seen.broadcasts, [{event: "hello", payload: {n: 1}}]), () => seen.broadcasts)
    }
    channel.push("shout", {}) // ignored
    came.splice(0)
    await ada.send("kind 3", {n: 2})
    await until("the first arrives, or is an error", () => came.length + errors.length === 1, () => came)
    await old.send("text", {n: 3})
    const text = (event, n) => ["broadcast", {event, payload: {n}, type: "broadcast"}]
    const wanted = vsn === "1.0.0" ? [text("kind 3", 2), text("text", 3)] : [text("text", 3)] // version 2 of phoenix.js does not know kind 4
    await until("it gets what it can read", () => same(came, wanted), () => came)
    assert.deepEqual(errors.length, vsn === "1.0.0" ? 0 : 1, "one for the kind that it does not know")
    assert.equal(socket.isConnected(), true)
  })
}

test("docs/realtime.md: the snippets run", async t => {
  const scope = new Scope(t)
  const guide = await fs.readFile(new URL("../../docs/realtime.md", import.meta.url), "utf8")
  const [code, ...others] = snippetsOf(guide, "@supabase/supabase-js")
  assert.ok(code && others.length === 0, "docs/realtime.md has one snippet for supabase-js")
  const server = await startServer(scope, "mycelium", {more: ["--dialect", "realtime"]})
  const [, realtime] = CLIENTS
  const bob = realtime.open({http: `${server.http}/realtime/v1`, key: "any-key"})
  scope.defer(() => bob.close())
  const seen = watch(bob, "room-1", {presence: {key: "bob", enabled: true}})
  await seen.status("SUBSCRIBED")
  const {child, output} = await start(scope, "realtime-supabase-js", code.replace("http://localhost:4000", server.http))
  await until("its cursor arrives", () => same(seen.broadcasts, [{event: "cursor", payload: {x: 1, y: 2}}]) || child.exitCode !== null, () => ({...seen, ...output}))
  assert.deepEqual(seen.here(), {ada: [{name: "Ada"}]})
  await seen.send("cursor", {x: 3})
  await until("it prints what bob sends", () => output.out.includes("{ x: 3 }"), () => output)
  assert.match(output.out, /ada: \[/)
  assert.deepEqual(output.err.split("\n").filter(line => line && !line.includes("Node.js 20")), [], "supabase-js wants a newer Node")

  const [moved, ...rest] = snippetsOf(guide, "@supabase/realtime-js")
  assert.ok(moved && rest.length === 0, "docs/realtime.md has one snippet for realtime-js")
  const program = `${moved.replace("wss://realtime.example.com", server.http.replace("http:", "ws:"))}
const supabase = {auth: {getSession: async () => ({data: {session: {access_token: "a token"}}})}}
realtime.channel("room-2").subscribe(status => console.log(status))
`
  const second = await start(scope, "realtime-realtime-js", program)
  await until("it subscribes", () => second.output.out.includes("SUBSCRIBED") || second.child.exitCode !== null, () => second.output)
})
