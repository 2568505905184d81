// The behaviours of @supabase/realtime-js, by their names in behaviours.mjs. It has its own API for topics and replies, which
// these use. The server's side is compat_tests/labapp/realtime.go.

import assert from "node:assert/strict"
import {same} from "../wait.mjs"
import {when} from "./lab.mjs"

const UNICODE = {body: "Grüße <b>&</b> 你好 🍄 \u2028", n: [1, 2.5, null, true], deep: {er: {}}}

/** What a test of this client gets in place of a User. */
export class RealtimeUser {
  constructor({RealtimeClient, RealtimeChannel}, WebSocket, {endpoint, params, ...options}) {
    this.RealtimeChannel = RealtimeChannel
    this.opens = 0
    this.closes = []
    this.heartbeats = 0 // answered on the present connection
    this.ends = [] // topics that got phx_close
    this.topics = {}
    this.client = new RealtimeClient(endpoint, {
      params: {apikey: "key", ...params}, transport: WebSocket, ...options,
      heartbeatCallback: status => { if (status === "ok") this.heartbeats++ },
    })
    const {socketAdapter} = this.client // the events of the connection are nowhere else
    socketAdapter.onOpen(() => {
      this.opens++
      this.heartbeats = 0
    })
    socketAdapter.onClose(event => this.closes.push(event?.code))
    socketAdapter.onMessage(({topic, event}) => event === "phx_close" && this.ends.push(topic))
    this.client.connect()
  }

  join(topic, config = {}, name = topic, channel = this.client.channel(topic, {config})) {
    const seen = {channel, statuses: [], broadcasts: [], system: [], changes: 0}
    this.topics[name] = seen
    channel.on("broadcast", {event: "*"}, ({event, payload}) => seen.broadcasts.push({event, payload}))
    channel.on("system", {}, message => seen.system.push(message))
    if (config.presence) channel.on("presence", {event: "sync"}, () => {})
    if (config.changes) channel.on("postgres_changes", {event: "*", schema: "public", table: "todos"}, () => {})
    channel.subscribe((status, error) => seen.statuses.push(error ? `${status}: ${error.message}` : status))
  }

  send(topic, message, options) { return this.topics[topic].channel.send(message, options) }

  snapshot() {
    const topics = Object.fromEntries(Object.entries(this.topics).map(([name, {channel, statuses, broadcasts, system}]) => {
      const here = Object.entries(channel.presenceState()).map(([key, presences]) => [key, presences.map(({device}) => device).sort()])
      return [name, {state: channel.state, statuses, broadcasts, system, here: Object.fromEntries(here)}]
    }))
    const {opens, closes, heartbeats, ends} = this
    return {connected: this.client.isConnected(), opens, closes, heartbeats, ends, topics}
  }

  close() { void this.client.disconnect() }
}

const subscribed = (user, topic, times = 1) => when(user, `has subscribed to ${topic} (${times})`, ({topics}) =>
  topics[topic].state === "joined" && topics[topic].statuses.filter(status => status === "SUBSCRIBED").length >= times)

const relaying = {broadcast: {self: true, ack: true}}

async function joined(lab, topic, {name = "alice", config = relaying, ...options} = {}) {
  const user = await lab.connected({...options, name})
  user.join(topic, config)
  await subscribed(user, topic)
  return user
}

const both = (lab, topic, options) => Promise.all(["alice", "bob"].map(name => joined(lab, topic, {...options, name})))

const broadcasting = (event, payload) => ({type: "broadcast", event, payload})

const receives = (user, topic, event, payload) => when(user, `receives ${event}`, ({topics}) =>
  topics[topic].broadcasts.some(one => same(one, {event, payload})))

const payloads = (user, topic) => user.snapshot().topics[topic].broadcasts.map(({payload}) => payload)

async function connect(lab) {
  const alice = await lab.connected()
  const {opens, closes} = alice.snapshot()
  assert.deepEqual({opens, closes}, {opens: 1, closes: []})
}

async function connectRefused(lab) {
  const alice = await lab.open({params: {token: "bad"}})
  await when(alice, "hears of the refusal", ({closes}) => closes.length > 0)
  assert.equal(alice.snapshot().opens, 0)
}

async function join(lab) {
  const topic = lab.topic("room")
  // The client compares the changes in the answer with those it asked for, and is subscribed only if they are the same.
  const alice = await joined(lab, topic, {config: {changes: true}})
  assert.deepEqual(alice.snapshot().topics[topic].statuses, ["SUBSCRIBED"])
}

async function serverPush(lab) {
  const topic = lab.topic("room")
  const alice = await joined(lab, topic, {config: {changes: true}})
  await when(alice, "hears of the subscription to changes", ({topics}) => topics[topic].system.length > 0)
  assert.deepEqual(alice.snapshot().topics[topic].system,
    [{extension: "postgres_changes", status: "ok", message: "Subscribed to PostgreSQL", channel: topic}])
}

async function joinRefused(lab) {
  const topic = lab.topic("room")
  const alice = await lab.connected()
  await alice.client.setAuth("bad")
  alice.join(topic)
  await when(alice, "is refused", ({topics}) => topics[topic].statuses[0] === "CHANNEL_ERROR: InvalidJWTToken: the token is bad")
  assert.notEqual(alice.snapshot().topics[topic].state, "joined")
}

async function pushes(lab) {
  const topic = lab.topic("room")
  const alice = await joined(lab, topic)
  assert.equal(await alice.send(topic, broadcasting("hello", UNICODE)), "ok")
  assert.equal(await alice.send(topic, {type: "presence", event: "nonsense"}), "error")
  assert.equal(await alice.send(topic, {type: "nobody_answers", event: "x"}, {timeout: 300}), "timed out")
}

async function broadcast(lab) {
  const topic = lab.topic("room")
  const [alice, bob] = await both(lab, topic)
  assert.equal(await alice.send(topic, broadcasting("hello", UNICODE)), "ok")
  await Promise.all([alice, bob].map(user => receives(user, topic, "hello", UNICODE)))
  for (let n = 0; n < 50; n++) void bob.send(topic, broadcasting("count", {n}))
  await Promise.all([alice, bob].map(user => receives(user, topic, "count", {n: 49})))
  for (const user of [alice, bob]) assert.deepEqual(payloads(user, topic), [UNICODE, ...Array.from({length: 50}, (_, n) => ({n}))])
}

async function broadcastFrom(lab) {
  const topic = lab.topic("room")
  const [alice, bob] = await both(lab, topic, {config: {broadcast: {self: false, ack: true}}})
  assert.equal(await alice.send(topic, broadcasting("hello", {n: 1})), "ok")
  await receives(bob, topic, "hello", {n: 1})
  assert.equal(await bob.send(topic, broadcasting("hello", {n: 2})), "ok")
  await receives(alice, topic, "hello", {n: 2})
  assert.deepEqual(payloads(alice, topic), [{n: 2}], "not her own")
}

async function leave(lab) {
  const topic = lab.topic("room")
  const [alice, bob] = await both(lab, topic)
  const left = alice.topics[topic].channel
  assert.equal(await left.unsubscribe(), "ok")
  await when(alice, "is told that the channel is closed", ({topics, ends}) =>
    topics[topic].statuses.at(-1) === "CLOSED" && ends.includes(`realtime:${topic}`))
  assert.equal(await bob.send(topic, broadcasting("hello", {n: 1})), "ok")
  alice.join(topic, relaying, "again")
  await subscribed(alice, "again")
  assert.equal(await bob.send(topic, broadcasting("hello", {n: 2})), "ok")
  await receives(alice, "again", "hello", {n: 2})
  assert.deepEqual([payloads(alice, topic), payloads(alice, "again")], [[], [{n: 2}]])
}

// A token that is no longer valid ends the channel.
async function stopped(lab) {
  const topic = lab.topic("room")
  const alice = await joined(lab, topic)
  await alice.client.setAuth("bad")
  await when(alice, "is told that the channel is closed", ({topics}) => topics[topic].statuses.at(-1) === "CLOSED")
  const {state, statuses, system} = alice.snapshot().topics[topic]
  assert.deepEqual({state, statuses}, {state: "closed", statuses: ["SUBSCRIBED", "CLOSED"]})
  assert.equal(system[0].status, "error")
}

async function crashAndRejoin(lab) {
  const [topic, other] = [lab.topic("room"), lab.topic("other")]
  const alice = await joined(lab, topic)
  alice.join(other)
  await subscribed(alice, other)
  void alice.send(topic, {type: "crash"})
  await subscribed(alice, topic, 2)
  assert.equal(await alice.send(topic, broadcasting("hello", {n: 1})), "ok")
  const {opens, closes, topics} = alice.snapshot()
  assert.deepEqual({opens, closes, others: topics[other].statuses}, {opens: 1, closes: [], others: ["SUBSCRIBED"]})
}

// client.channel() returns an existing channel; a second one is made with its class.
async function duplicateJoin(lab) {
  const topic = lab.topic("room")
  const alice = await lab.connected()
  alice.join(topic, relaying, "first")
  await subscribed(alice, "first")
  alice.join(topic, relaying, "second", new alice.RealtimeChannel(`realtime:${topic}`, {config: relaying}, alice.client))
  await subscribed(alice, "second")
  await when(alice, "is told that the first is closed", ({topics: {first}}) => first.statuses.at(-1) === "CLOSED")
  assert.equal(await alice.send("second", broadcasting("hello", {n: 1})), "ok")
  await receives(alice, "second", "hello", {n: 1})
  const {first, second} = alice.snapshot().topics
  assert.deepEqual([first.broadcasts.length, second.broadcasts.length, second.statuses], [0, 1, ["SUBSCRIBED"]])
}

async function backAgain(alice, bob, topic) {
  await subscribed(alice, topic, 2)
  assert.equal(await alice.send(topic, broadcasting("hello", {n: 1})), "ok")
  await receives(bob, topic, "hello", {n: 1})
  assert.equal(await bob.send(topic, broadcasting("hello", {n: 2})), "ok")
  await receives(alice, topic, "hello", {n: 2})
  assert.deepEqual([alice.snapshot().opens, bob.snapshot().opens], [2, 1])
}

async function forcedDisconnect(lab) {
  const topic = lab.topic("room")
  const [alice, bob] = await both(lab, topic)
  await lab.disconnectUser(lab.id("alice"))
  await when(alice, "is closed with 1001", ({closes}) => same(closes, [1001]))
  await backAgain(alice, bob, topic)
}

async function droppedTCP(lab) {
  const topic = lab.topic("room")
  const [alice, bob] = await both(lab, topic)
  alice.proxy.kill()
  await when(alice, "loses her connection without a close frame", ({closes}) => same(closes, [1006]))
  await backAgain(alice, bob, topic)
}

async function heartbeat(lab) {
  const topic = lab.topic("room")
  const alice = await joined(lab, topic, {heartbeatIntervalMs: 200})
  await when(alice, "has five heartbeats answered", ({heartbeats}) => heartbeats >= 5)
  assert.ok(alice.snapshot().closes.every(code => code === 1000), "the server never closed it")
}

async function presence(lab) {
  const topic = lab.topic("room")
  const enter = async (key, device) => {
    const user = await joined(lab, topic, {name: key, config: {presence: {key}}})
    assert.equal(await user.topics[topic].channel.track({device}), "ok")
    return user
  }
  const sees = (user, here) => when(user, `sees ${JSON.stringify(here)}`, ({topics}) => same(topics[topic].here, here))
  const alice = await enter("alice", "phone")
  await sees(alice, {alice: ["phone"]})
  const bob = await enter("bob", "desk")
  const tab = await enter("bob", "tab")
  const all = [alice, bob, tab]
  await Promise.all(all.map(user => sees(user, {alice: ["phone"], bob: ["desk", "tab"]})))
  // No more than these: see the note about presence in clients.mjs.
  assert.equal(await tab.topics[topic].channel.untrack(), "ok")
  await Promise.all(all.map(user => sees(user, {alice: ["phone"], bob: ["desk"]})))
  alice.close()
  await Promise.all([bob, tab].map(user => sees(user, {bob: ["desk"]})))
}

// Its token is in the payload of the join, and later in an event.
async function authToken(lab) {
  const topic = lab.topic("room")
  const alice = await lab.connected({accessToken: async () => "good"})
  await alice.client.setAuth()
  alice.join(topic, relaying)
  await subscribed(alice, topic)
  await alice.client.setAuth("better")
  assert.equal(await alice.send(topic, broadcasting("hello", {n: 1})), "ok")
  assert.deepEqual(alice.snapshot().topics[topic].statuses, ["SUBSCRIBED"])
  await alice.client.setAuth("bad")
  await when(alice, "is told that the channel is closed", ({topics}) => topics[topic].statuses.at(-1) === "CLOSED")
}

export const onRealtime = {
  "connect": connect,
  "connect refused": connectRefused,
  "join": join,
  "join refused": joinRefused,
  "push: ok, error, timeout": pushes,
  "push from the server": serverPush,
  "broadcast": broadcast,
  "broadcast_from": broadcastFrom,
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
