// The behaviours of phoenix clients on WebSocket, by their names in behaviours.mjs.

import assert from "node:assert/strict"
import {same} from "../wait.mjs"
import {when, whenJoined} from "./lab.mjs"

const UNICODE = {body: "Grüße <b>&</b> 你好 🍄 \u2028", n: [1, 2.5, -0.001, null, true], deep: {er: {}}}

const base64 = bytes => Buffer.from(bytes).toString("base64")
export const everyByte = base64(Array.from({length: 256}, (_, byte) => byte))
export const large = base64(Array.from({length: 70_000}, (_, n) => (n * 31) % 251)) // longer than a 16 bit length

/** Returns the events of a topic in a snapshot. */
export const eventsOf = ({topics}, name, event) => topics[name].events.filter(one => one.event === event).map(({payload}) => payload)

export const receives = (user, topic, event, payload) =>
  when(user, `receives ${event}`, seen => eventsOf(seen, topic, event).some(one => same(one, payload)))

async function connect(lab) {
  const alice = await lab.connected()
  const {transport, opens, errors, closes} = await alice.snapshot()
  assert.deepEqual({transport, opens, errors, closes}, {transport: "websocket", opens: 1, errors: 0, closes: []})
}

async function connectRefused(lab) {
  const alice = await lab.open({params: {token: "bad"}})
  await when(alice, "hears of the refusal", ({errors, closes}) => errors > 0 && closes.length > 0)
  const {connected, opens} = await alice.snapshot()
  assert.deepEqual({connected, opens}, {connected: false, opens: 0})
}

async function join(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, {join: UNICODE})
  assert.deepEqual((await alice.snapshot()).topics[topic].joins, [{status: "ok", response: {you_sent: UNICODE}}])
  await alice.join("exact")
  await whenJoined(alice, "exact")
}

async function joinRefused(lab) {
  const alice = await lab.connected()
  const refusals = [
    [lab.topic("echo"), {deny: true}, {reason: "denied"}],
    [lab.topic("deny"), {}, {reason: "unauthorized"}],
    ["deny:empty", {}, {}],
    [lab.topic("joincrash"), {}, {reason: "join crashed"}],
  ]
  for (const [topic, params, response] of refusals) {
    await alice.join(topic, params)
    await when(alice, `is refused ${topic}`, ({topics}) => topics[topic].joins.length > 0)
    const {joins, state} = (await alice.snapshot()).topics[topic]
    assert.deepEqual(joins[0], {status: "error", response})
    assert.notEqual(state, "joined")
  }
}

/** A topic without a channel is refused with a null join_ref, which newer clients accept too. */
async function joinUnmatched(lab) {
  const alice = await lab.connected()
  await alice.join("nobody:home")
  await when(alice, "is told that nothing is there", ({topics}) =>
    topics["nobody:home"].joins.some(one => same(one, {status: "error", response: {reason: "unmatched topic"}})))
}

async function refusedJoins(lab) {
  await joinRefused(lab)
  await joinUnmatched(lab)
}

export async function pushes(lab, options) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, options)
  assert.deepEqual(await alice.push(topic, "echo", UNICODE), {status: "ok", response: UNICODE})
  assert.deepEqual(await alice.push(topic, "echo_error", UNICODE), {status: "error", response: UNICODE})
  assert.equal((await alice.push(topic, "noreply", {}, 300)).status, "timeout")
  assert.deepEqual(await alice.push(topic, "ok_only"), {status: "ok", response: {}})
  assert.deepEqual(await alice.push(topic, "reply_list", {n: 1}), {status: "ok", response: [1, "two", {n: 1}]})
  assert.deepEqual(await alice.push(topic, "async", UNICODE), {status: "ok", response: UNICODE})
}

async function serverPush(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic)
  assert.deepEqual(await alice.push(topic, "push_reply", UNICODE), {status: "ok", response: UNICODE})
  await receives(alice, topic, "pushed", UNICODE)
  assert.deepEqual((await bob.snapshot()).topics[topic].events, [])
}

export async function broadcast(lab, options) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic, options)
  assert.equal((await alice.push(topic, "shout_reply", UNICODE)).status, "ok")
  await Promise.all([alice, bob].map(user => receives(user, topic, "shout", UNICODE)))
  const answers = await Promise.all(Array.from({length: 50}, (_, n) => bob.push(topic, "shout_reply", {n})))
  assert.ok(answers.every(({status}) => status === "ok"))
  const inOrder = Array.from({length: 50}, (_, n) => n)
  for (const user of [alice, bob]) {
    await when(user, "has all fifty", seen => eventsOf(seen, topic, "shout").length === 51)
    const numbers = eventsOf(await user.snapshot(), topic, "shout").slice(1).map(({n}) => n)
    // Before 1.7, each push is a separate request, and they may overtake each other.
    const ordered = !options?.longpoll || lab.offers.includes("longpoll batches")
    assert.deepEqual(ordered ? numbers : numbers.toSorted((a, b) => a - b), inOrder)
  }
}

async function broadcastFrom(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic)
  await alice.send(topic, "shout_from", {n: 1})
  await receives(bob, topic, "shout", {n: 1})
  assert.equal((await bob.push(topic, "shout_reply", {n: 2})).status, "ok")
  await receives(alice, topic, "shout", {n: 2})
  assert.deepEqual(eventsOf(await alice.snapshot(), topic, "shout"), [{n: 2}], "not her own")
}

async function binary(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic)
  for (const bytes of [everyByte, large, base64([0])]) {
    assert.deepEqual(await alice.pushBytes(topic, "bin", bytes), {status: "ok", response: {base64: bytes}})
    await alice.sendBytes(topic, "bin_broadcast", bytes)
    await Promise.all([alice, bob].map(user => receives(user, topic, "bin_shout", {base64: bytes})))
    await alice.sendBytes(topic, "bin_push", bytes)
    await receives(alice, topic, "bin_pushed", {base64: bytes})
  }
  assert.deepEqual(await alice.pushBytes(topic, "bin_error", everyByte), {status: "error", response: {base64: everyByte}})
  assert.deepEqual(await alice.pushBytes(topic, "bin_ok_text", everyByte), {status: "ok", response: {size: 256}})
}

async function leave(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic)
  assert.deepEqual(await alice.leave(topic), {status: "ok", response: {}})
  await when(alice, "is told that the channel is closed", ({topics, ends}) =>
    topics[topic].closes > 0 && topics[topic].state === "closed" && ends.includes(topic))
  assert.equal((await bob.push(topic, "shout_reply", {n: 1})).status, "ok")
  await alice.join(topic, {}, "again")
  await whenJoined(alice, "again")
  assert.equal((await bob.push(topic, "shout_reply", {n: 2})).status, "ok")
  await receives(alice, "again", "shout", {n: 2})
  const seen = await alice.snapshot()
  assert.deepEqual([eventsOf(seen, topic, "shout"), eventsOf(seen, "again", "shout")], [[], [{n: 2}]])
  assert.deepEqual(seen.closes, [], "the connection stays")
}

async function stopped(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic)
  assert.deepEqual(await alice.push(topic, "stop_reply", {n: 1}), {status: "ok", response: {n: 1}})
  await when(alice, "is told that the channel is closed", ({topics}) => topics[topic].closes > 0)
  const {state, joins, errors} = (await alice.snapshot()).topics[topic]
  assert.deepEqual({state, joins: joins.length, errors}, {state: "closed", joins: 1, errors: 0})
}

async function crashAndRejoin(lab) {
  const topic = lab.topic("echo")
  const other = lab.topic("room")
  const alice = await lab.joined(topic)
  await alice.join(other)
  await whenJoined(alice, other)
  await alice.send(topic, "crash")
  await whenJoined(alice, topic, 2)
  assert.deepEqual(await alice.push(topic, "echo", {n: 1}), {status: "ok", response: {n: 1}})
  const {topics, opens, closes} = await alice.snapshot()
  assert.ok(topics[topic].errors > 0)
  assert.deepEqual({opens, closes, joins: topics[other].joins.length, errors: topics[other].errors},
    {opens: 1, closes: [], joins: 1, errors: 0}, "nothing else was touched")
}

async function joinTwice(lab, topic) {
  const alice = await lab.connected()
  await alice.join(topic, {n: 1}, "first")
  await whenJoined(alice, "first")
  await alice.join(topic, {n: 2}, "second")
  return alice
}

// 1.3 relies on the server to end the first channel; later clients leave it themselves.
async function duplicateJoin(lab) {
  const topic = lab.topic("echo")
  const alice = await joinTwice(lab, topic)
  await whenJoined(alice, "second")
  await when(alice, "is told that the first is closed", ({topics: {first}}) => first.closes > 0 && first.state === "closed")
  assert.deepEqual(await alice.push("second", "echo", {n: 3}), {status: "ok", response: {n: 3}})
  assert.equal((await alice.push("second", "shout_reply", {n: 4})).status, "ok")
  await receives(alice, "second", "shout", {n: 4})
  const seen = await alice.snapshot()
  assert.deepEqual([eventsOf(seen, "first", "shout"), eventsOf(seen, "second", "shout")], [[], [{n: 4}]])
  const {second} = seen.topics
  assert.deepEqual({joins: second.joins, closes: second.closes, errors: second.errors},
    {joins: [{status: "ok", response: {you_sent: {n: 2}}}], closes: 0, errors: 0})
}

/**
 * A client that sends no join_ref is told of the end with ref null (compat_tests/transcripts, v1_join_twice), which it takes
 * for all its channels of the topic: both are closed, on Phoenix as here. The server has the second one.
 */
async function duplicateJoinWithoutRefs(lab) {
  const topic = lab.topic("echo")
  const alice = await joinTwice(lab, topic)
  await when(alice, "is told that channels of the topic are closed", ({topics}) => topics.first.closes === 1 && topics.second.closes === 1)
  assert.deepEqual((await alice.snapshot()).topics.second.joins, [{status: "ok", response: {you_sent: {n: 2}}}])
  const bob = await lab.joined(topic, {name: "bob"})
  await alice.leave("second")
  await when(alice, "is told of the end of the second too", ({ends}) => ends.length === 2)
  await alice.join(topic, {n: 3}, "third")
  await whenJoined(alice, "third")
  assert.equal((await bob.push(topic, "shout_reply", {n: 4})).status, "ok")
  await receives(alice, "third", "shout", {n: 4})
}

/** Checks that she is back: on a new connection, joined again, with messages in both directions. */
export async function backAgain(alice, bob, topic) {
  await whenJoined(alice, topic, 2)
  assert.deepEqual(await alice.push(topic, "echo", {n: 1}), {status: "ok", response: {n: 1}})
  assert.equal((await bob.push(topic, "shout_reply", {n: 2})).status, "ok")
  await receives(alice, topic, "shout", {n: 2})
  const {opens, topics} = await alice.snapshot()
  assert.equal(opens, 2)
  assert.deepEqual(eventsOf({topics}, topic, "shout"), [{n: 2}], "once")
  const {opens: bobs, closes} = await bob.snapshot()
  assert.deepEqual({bobs, closes}, {bobs: 1, closes: []}, "bob's own connection was never touched")
}

async function forcedDisconnect(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic)
  assert.equal((await bob.push(topic, "disconnect_user", {id: lab.id("alice")})).status, "ok")
  await when(alice, "is closed with 1001", ({closes}) => same(closes, [1001]))
  await backAgain(alice, bob, topic)
  assert.deepEqual((await alice.snapshot()).closes, [1001])
}

async function droppedTCP(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic)
  alice.proxy.kill()
  await when(alice, "loses her connection without a close frame", ({closes}) => same(closes, [1006]))
  const [pushed] = await Promise.all([alice.push(topic, "echo", {pushed: "while away"}), backAgain(alice, bob, topic)])
  assert.deepEqual(pushed, {status: "ok", response: {pushed: "while away"}})
}

// On a busy machine the client may time out, close with 1000 and reconnect. Five heartbeats on one connection are enough.
async function heartbeat(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, {heartbeatIntervalMs: 200})
  await when(alice, "has five heartbeats answered", ({heartbeats}) => heartbeats >= 5)
  let reply = await alice.push(topic, "echo", {n: 1})
  for (let i = 0; i < 5 && reply.status === "timeout"; i++) reply = await alice.push(topic, "echo", {n: 1}) // was sent on such a connection
  assert.deepEqual(reply, {status: "ok", response: {n: 1}})
  assert.ok((await alice.snapshot()).closes.every(code => code === 1000), "the server never closed it")
}

const sees = (user, topic, here) => when(user, `sees ${JSON.stringify(here)}`, ({topics}) => same(topics[topic].here, here))

const devices = metas => metas.map(({device}) => device).sort()

export async function presence(lab, options) {
  const topic = lab.topic("room")
  const enter = (name, device) => lab.joined(topic, {...options, name, join: {user: name, meta: {device}}})
  const alice = await enter("alice", "phone")
  await sees(alice, topic, {alice: 1})
  const bob = await enter("bob", "desk")
  await Promise.all([alice, bob].map(user => sees(user, topic, {alice: 1, bob: 1})))
  const tab = await enter("bob", "tab")
  const all = [alice, bob, tab]
  await Promise.all(all.map(user => sees(user, topic, {alice: 1, bob: 2})))
  for (const user of all) assert.deepEqual(devices((await user.snapshot()).topics[topic].metas.bob), ["desk", "tab"])

  assert.deepEqual(await tab.push(topic, "update", {device: "tablet"}), {status: "ok", response: {}})
  const updated = ({topics}) => same(devices(topics[topic].metas.bob ?? []), ["desk", "tablet"])
  await Promise.all(all.map(user => when(user, "sees the update", updated)))

  await tab.leave(topic)
  await Promise.all([alice, bob].map(user => sees(user, topic, {alice: 1, bob: 1})))
  // An abandoned long-poll session ends only when it expires, which would take too long to wait for.
  await (options?.longpoll ? bob.leave(topic) : bob.close())
  await sees(alice, topic, {alice: 1})
}

// Its base64 has a "+", which is not in the base64url alphabet.
export const TOKEN = "secret>>>"

async function authToken(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, {authToken: TOKEN})
  const {response} = await alice.push(topic, "connect_info")
  assert.deepEqual([response.auth_token, response.transport], [TOKEN, "websocket"])
  alice.proxy.kill()
  await whenJoined(alice, topic, 2)
  assert.equal((await alice.push(topic, "connect_info")).response.auth_token, TOKEN)
}

/** What is different for clients that send no join_ref. */
export const withoutJoinRefs = {"duplicate join": duplicateJoinWithoutRefs}

export const onWebSocket = {
  "connect": connect,
  "connect refused": connectRefused,
  "join": join,
  "join refused": refusedJoins,
  "push: ok, error, timeout": pushes,
  "push from the server": serverPush,
  "broadcast": broadcast,
  "broadcast_from": broadcastFrom,
  "binary": binary,
  "leave": leave,
  "channel stopped by the server": stopped,
  "crash and rejoin": crashAndRejoin,
  "duplicate join": duplicateJoin,
  "forced disconnect": forcedDisconnect,
  "dropped TCP": droppedTCP,
  "heartbeat": heartbeat,
  "presence: two users, two tabs": presence,
  "auth token": authToken,
}
