// The behaviours of phoenix clients on long polling, by their names in behaviours.mjs.

import assert from "node:assert/strict"
import {until} from "../wait.mjs"
import {when, whenJoined} from "./lab.mjs"
import {broadcast, everyByte, large, presence, pushes, receives, TOKEN} from "./phoenix_websocket.mjs"

// At /plain a session lives for 15 s without a poll, at /socket for 2 s. On a busy machine a client may be slower than that, and
// most versions do not notice that their session is gone.
const polling = {longpoll: true, path: "/plain"}

async function longPolling(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, polling)
  assert.equal((await alice.snapshot()).transport, "longpoll")
  assert.deepEqual(await alice.leave(topic), {status: "ok", response: {}})
  await pushes(lab, polling)
  await broadcast(lab, polling)
}

async function connectRefused(lab) {
  const alice = await lab.open({...polling, params: {token: "bad"}})
  await when(alice, "hears of the refusal", ({errors}) => errors > 0)
  assert.equal((await alice.snapshot()).opens, 0)
}

// Answers to polls are text, so bytes go only to the server.
async function binary(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, polling)
  const sizes = [await alice.pushBytes(topic, "bin_ok_text", everyByte), await alice.pushBytes(topic, "bin_ok_text", large)]
  assert.deepEqual(sizes, [{status: "ok", response: {size: 256}}, {status: "ok", response: {size: 70_000}}])
  assert.equal((await alice.pushBytes(topic, "bin", everyByte)).status, "error")
  assert.deepEqual(await alice.push(topic, "echo", {n: 1}), {status: "ok", response: {n: 1}})
}

/** Messages go both ways again. */
async function backAgain(alice, bob, topic) {
  // A push whose POST is lost is not sent again. A browser repeats the poll by itself, and then nothing is lost.
  const answered = async () => (await alice.push(topic, "echo", {n: 1}, 2000)).status === "ok"
  await until("a push of alice is answered", answered, () => alice.snapshot())
  assert.equal((await bob.push(topic, "shout_reply", {n: 2})).status, "ok")
  await receives(alice, topic, "shout", {n: 2})
  assert.equal((await alice.snapshot()).transport, "longpoll")
}

async function forcedDisconnect(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic, polling)
  assert.equal((await bob.push(topic, "disconnect_user", {id: lab.id("alice")})).status, "ok")
  await whenJoined(alice, topic, 2)
  await backAgain(alice, bob, topic)
}

async function droppedTCP(lab) {
  const topic = lab.topic("echo")
  const [alice, bob] = await lab.both(topic, polling)
  alice.proxy.kill()
  await backAgain(alice, bob, topic)
}

async function authToken(lab) {
  const topic = lab.topic("echo")
  const alice = await lab.joined(topic, {longpoll: true, authToken: TOKEN})
  const {response} = await alice.push(topic, "connect_info")
  assert.deepEqual([response.auth_token, response.transport], [TOKEN, "longpoll"])
}

/** phoenix.js gives up on WebSockets, connects by long polling, and stays there. */
const fallback = network => async lab => {
  const topic = lab.topic("echo")
  const alice = await lab.open({path: "/plain", network, longPollFallbackMs: 500})
  await alice.join(topic)
  await when(alice, "has joined by long polling", ({transport, topics}) => transport === "longpoll" && topics[topic].state === "joined")
  assert.deepEqual(await alice.push(topic, "echo", {n: 1}), {status: "ok", response: {n: 1}})
  assert.equal((await alice.push(topic, "connect_info")).response.transport, "longpoll")
  assert.ok(alice.proxy.broken > 0, "it tried a WebSocket first")
}

export const onLongPoll = {
  "long polling": longPolling,
  "long polling: connect refused": connectRefused,
  "long polling: presence": lab => presence(lab, polling),
  "long polling: binary to the server": binary,
  "long polling: forced disconnect": forcedDisconnect,
  "long polling: dropped TCP": droppedTCP,
  "long polling: auth token": authToken,
  "fallback: WebSocket path refused": fallback("refuse"),
  "fallback: WebSocket path silent": fallback("silence"),
}
