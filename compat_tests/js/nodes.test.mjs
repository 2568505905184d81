// phoenix.js, unchanged, at nodes that have neither its session nor its instance.

import assert from "node:assert/strict"
import test from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {startBalancer} from "./balancer.mjs"
import {Client} from "./client.mjs"
import {startNodes} from "./nodes.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const MESSAGES = 1000
const PATIENCE_MS = 60000 // what a dead node had goes after 6 s; the machine may be busy

const counted = who => who.snapshot().events.filter(({event}) => event === "count").map(({payload}) => payload.n)

const upTo = n => Array.from({length: n}, (_, i) => i)

const join = (scope, endpoint, user, transport) => {
  const client = new Client(phoenix, {endpoint, transport, params: {user_id: user}, join: {user, meta: {user}}})
  scope.defer(() => client.close())
  return Object.assign(client, {user})
}

const see = (clients, here) => Promise.all(clients.map(who =>
  until(`${who.user} sees ${Object.keys(here)}`, () => same(who.snapshot().here, here), () => who.snapshot(), {patienceMs: PATIENCE_MS})))

/** Has `from` push a thousand messages, which all receive once and in order. */
async function count(from, all, before = 0) {
  for (let n = 0; n < MESSAGES; n++) void from.push("count", {n: before + n})
  for (const who of all) {
    await until(`${who.user} has ${before + MESSAGES} messages`, () => counted(who).length >= before + MESSAGES, () => counted(who).length, {patienceMs: PATIENCE_MS})
    assert.deepEqual(counted(who), upTo(before + MESSAGES), `${who.user}: each once, in order`)
  }
}

test("three nodes without a sticky balancer", {timeout: 5 * PATIENCE_MS}, async t => {
  const scope = new Scope(t)
  const nodes = await startNodes(scope, 3)
  const balancer = await startBalancer(scope, nodes.map(node => node.port))

  balancer.pin(nodes[1].port)
  const ada = join(scope, balancer.endpoint, "ada", phoenix.LongPoll)
  await see([ada], {ada: 1})
  balancer.pin(nodes[2].port)
  const bob = join(scope, balancer.endpoint, "bob", phoenix.LongPoll)
  await see([ada, bob], {ada: 1, bob: 1})
  balancer.spread()
  const cleo = join(scope, nodes[0].endpoint, "cleo", WebSocket)
  await see([ada, bob, cleo], {ada: 1, bob: 1, cleo: 1})

  await count(ada, [ada, bob, cleo])
  await count(cleo, [ada, bob, cleo], MESSAGES)
  assert.ok([...balancer.served.values()].every(n => n > 10), `all nodes were asked: ${[...balancer.served.values()]}`)
  assert.deepEqual([ada, bob, cleo].map(who => who.snapshot().joins), [1, 1, 1])

  // The node that has Ada's session dies: she joins again, by another.
  balancer.drop(nodes[1].port)
  await nodes[1].kill()
  await until("ada has joined again", () => ada.snapshot().joins === 2 && ada.snapshot().joined, () => ada.snapshot(), {patienceMs: PATIENCE_MS})
  await see([ada, bob, cleo], {ada: 1, bob: 1, cleo: 1})
  for (const who of [ada, bob, cleo]) who.events.length = 0
  await count(bob, [ada, bob, cleo])
  assert.equal(cleo.snapshot().joins, 1, "cleo has not noticed")
  // A poll of Bob's that the dead node passed on is lost with it, and phoenix.js then joins again.
  assert.ok(bob.snapshot().joins <= 2, `bob has joined ${bob.snapshot().joins} times`)
})

test("an instance at another node, which stops", {timeout: 5 * PATIENCE_MS}, async t => {
  const scope = new Scope(t)
  const nodes = await startNodes(scope, 3, {shared: true})
  const api = async (node, method, path, body) => {
    const response = await fetch(`${node.http}/api/instances${path}`, {method, headers: await node.headers({"Content-Type": "application/json"}), body: body && JSON.stringify(body)})
    return {status: response.status, text: await response.text()}
  }
  await until("the chat is created", async () => [200, 201].includes((await api(nodes[0], "POST", "", {id: "talk", type: "chat"})).status), undefined, {patienceMs: PATIENCE_MS})
  const ownerAt = async node => {
    const {status, text} = await api(node, "GET", "/talk")
    const {state, node: owner} = status === 200 ? JSON.parse(text) : {}
    return state === "running" && owner
  }
  const owner = await until("the chat runs", () => ownerAt(nodes[0]), () => api(nodes[0], "GET", "/talk"), {patienceMs: PATIENCE_MS})
  const others = nodes.filter((_, i) => `node-${i}` !== owner)
  scope.defer(() => Promise.all(others.map(node => node.kill()))) // two that stop at once wait for each other
  const clients = others.map((node, i) => join(scope, `${node.endpoint}/talk`, `user-${i}`, i === 0 ? WebSocket : phoenix.LongPoll))
  const here = {"user-0": 1, "user-1": 1}
  await see(clients, here)
  const say = async body => {
    assert.equal((await clients[0].push("new_msg", {body})).status, "ok")
    for (const who of clients) {
      const heard = () => who.snapshot().events.some(({event, payload}) => event === "new_msg" && payload.body === body)
      await until(`${who.user} hears ${body}`, heard, () => who.snapshot(), {patienceMs: PATIENCE_MS})
    }
  }
  await say("before")

  const [stopped] = nodes.filter(node => !others.includes(node))
  await stopped.stop()
  const rejoined = who => who.snapshot().joins === 2 && who.snapshot().joined
  for (const who of clients) await until(`${who.user} has joined again`, () => rejoined(who), () => who.snapshot(), {patienceMs: PATIENCE_MS})
  await see(clients, here)
  assert.notEqual(await until("another node has it", () => ownerAt(others[0]), undefined, {patienceMs: PATIENCE_MS}), owner)
  await say("after")
})
