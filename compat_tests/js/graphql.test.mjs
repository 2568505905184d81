// examples/graphql with npm's @absinthe/socket and its Apollo link, unchanged.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import test from "node:test"
import * as absinthe from "@absinthe/socket"
import {createAbsintheSocketLink} from "@absinthe/socket-apollo-link"
import {execute} from "apollo-link"
import {parse} from "graphql"
import {Socket} from "phoenix"
import {WebSocket} from "ws"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {snippetsOf, start} from "./snippet.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const POSTED = "subscription ($room: String!) { posted(room: $room) { body } }"
const POST = `mutation ($room: String!, $body: String!) { post(room: $room, user: "ada", body: $body) { body } }`
const MESSAGES = "query ($room: String!) { messages(room: $room) { body } }"

/** A user of GraphQL over a socket, through @absinthe/socket itself or its link. */
class User {
  constructor(scope, endpoint) {
    this.socket = new Socket(endpoint, {transport: WebSocket, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20})
    this.absinthe = absinthe.create(this.socket)
    this.link = createAbsintheSocketLink(this.absinthe)
    scope.defer(() => new Promise(resolve => { this.socket.disconnect(resolve) }))
  }

  /** Returns the results of a document, through the link; `cancel` unsubscribes. */
  run(query, variables) {
    const came = {results: [], errors: [], completed: false}
    const subscription = execute(this.link, {query: parse(query), variables}).subscribe({
      next: result => came.results.push(result),
      error: error => came.errors.push(String(error)),
      complete: () => { came.completed = true },
    })
    return Object.assign(came, {cancel: () => subscription.unsubscribe()})
  }

  async answer(query, variables) {
    const came = this.run(query, variables)
    await until("there is an answer", () => came.completed || came.errors.length > 0, () => came)
    return came.errors[0] ?? came.results[0]
  }

  post(room, body) { return this.answer(POST, {room, body}) }

  /** The same through @absinthe/socket, which reports when a subscription has begun. */
  observe(operation, variables) {
    const seen = {starts: 0, results: [], errors: [], aborts: [], canceled: 0}
    let notifier = absinthe.send(this.absinthe, {operation, variables})
    const observer = {
      onStart: () => { seen.starts++ }, onResult: result => seen.results.push(result), onCancel: () => { seen.canceled++ },
      onError: error => seen.errors.push(error.message), onAbort: error => seen.aborts.push(error.message),
    }
    notifier = absinthe.observe(this.absinthe, notifier, observer)
    const current = () => this.absinthe.notifiers.find(({request}) => request === notifier.request)
    return Object.assign(seen, {cancel: () => absinthe.unobserveOrCancel(this.absinthe, current(), observer)})
  }

  async subscribed(room) {
    const seen = this.observe(POSTED, {room})
    await until("the subscription has begun", () => seen.starts > 0, () => seen)
    return seen
  }
}

const bodies = ({results}) => results.map(({data}) => data.posted.body)
const hears = (seen, ...wanted) => until(`it has ${wanted}`, () => same(bodies(seen), wanted), () => seen)

test("@absinthe/socket: queries, mutations and their errors", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope, "graphql")
  const ada = new User(scope, server.endpoint)
  assert.deepEqual(await ada.answer(MESSAGES, {room: "lobby"}), {data: {messages: []}})
  assert.deepEqual(await ada.post("lobby", "Grüße <b> 你好 🍄"), {data: {post: {body: "Grüße <b> 你好 🍄"}}})
  assert.deepEqual(await ada.answer(`${MESSAGES}`, {room: "lobby"}), {data: {messages: [{body: "Grüße <b> 你好 🍄"}]}})
  const {errors: [error], data} = await ada.post("", "a message without a room")
  assert.equal(error.message, "room has 0 bytes, want 1 to 1000")
  assert.deepEqual(error.path, ["post"])
  assert.equal(data, null)
  const refused = ada.observe("query { nothing }")
  await until("a document that is not valid is refused", () => refused.aborts.length > 0, () => refused)
  const alsoRefused = ada.observe("subscription { nothing }")
  await until("so is a subscription", () => alsoRefused.aborts.length > 0, () => alsoRefused)
})

test("@absinthe/socket: subscriptions, by itself and by its Apollo link", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope, "graphql")
  const [ada, grace] = [new User(scope, server.endpoint), new User(scope, server.endpoint)]
  const [mine, hers, other] = [await ada.subscribed("lobby"), await grace.subscribed("lobby"), await grace.subscribed("other")]
  const linked = grace.run("subscription { posted(room: \"lobby\") { id body user } }")
  await grace.post("lobby", "one")
  for (const seen of [mine, hers, linked]) await hears(seen, "one")
  assert.deepEqual(linked.results[0].data.posted, {id: "1", body: "one", user: "ada"})

  mine.cancel()
  linked.cancel()
  await until("both are canceled", () => ada.absinthe.notifiers.length === 0 && grace.absinthe.notifiers.length === 2)
  await Promise.all(Array.from({length: 50}, (_, n) => ada.post("lobby", `${n}`)))
  await until("all that is posted comes, once", () => hers.results.length === 51, () => hers)
  const {data: {messages}} = await ada.answer(MESSAGES, {room: "lobby"})
  assert.deepEqual(bodies(hers), messages.map(({body}) => body), "in the order of the room")
  assert.deepEqual([bodies(mine), bodies(linked), bodies(other)], [["one"], ["one"], []])
  const again = await ada.subscribed("lobby")
  await grace.post("lobby", "two")
  await hears(again, "two")
})

test("@absinthe/socket: subscriptions go on after a lost connection and another server", async t => {
  const scope = new Scope(t)
  const first = await startServer(scope, "graphql")
  const proxy = await startProxy(scope, first.port)
  const ada = new User(scope, proxy.endpoint)
  const seen = await ada.subscribed("lobby")
  proxy.kill()
  await until("it has begun again", () => seen.starts === 2, () => seen)
  await ada.post("lobby", "one")
  await hears(seen, "one")

  await first.kill()
  const second = await startServer(scope, "graphql")
  proxy.target = second.port
  await until("it has begun again", () => seen.starts === 3, () => seen)
  await ada.post("lobby", "two")
  await hears(seen, "one", "two")

  proxy.freeze()
  ada.absinthe.channel.timeout = 5000 // no timer of this push outlives the test for long
  const lost = ada.observe(POST, {room: "lobby", body: "lost"})
  proxy.kill()
  await until("a mutation without an answer is aborted, not repeated", () => same(lost.aborts, ["connection: close"]), () => lost)
})

test("docs/examples.md: the snippet of @absinthe/socket-apollo-link", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope, "graphql")
  const [code] = snippetsOf(await fs.readFile(new URL("../../docs/examples.md", import.meta.url), "utf8"), "@absinthe/socket-apollo-link")
  const {output} = await start(scope, "graphql", code.replace("ws://localhost:4000/socket", server.endpoint))
  await until("it prints what it posted", () => output.out === "ada: hello\n" || output.err, () => output)
  assert.equal(output.err, "")
})
