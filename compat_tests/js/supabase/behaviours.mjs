// What Supabase's clients do with a server, by the names of the rows of the table in docs/compatibility.md. A behaviour returns why a
// client does not offer it, and throws if it fails.

import assert from "node:assert/strict"
import {same, until} from "../wait.mjs"
import {KEY, tokenOf, watch} from "./lab.mjs"

const UNICODE = {body: "Grüße <b>&</b> 你好 🍄 \u2028", n: [1, 2.5, null, true], deep: {er: {}}}

const becomes = (what, look, wanted) => until(what, () => same(look(), wanted), look)
const arrives = (seen, event, payload) => until(`${event} arrives`, () => seen.broadcasts.some(one => same(one, {event, payload})), () => seen)

async function subscribe(lab) {
  const ada = await lab.enter(lab.named("room"))
  assert.deepEqual(ada.statuses, ["SUBSCRIBED"])
  assert.equal(await ada.channel.unsubscribe(), "ok")
  await ada.status("CLOSED")
}

async function broadcast(lab) {
  const room = lab.named("room")
  const [ada, bob] = [await lab.enter(room), await lab.enter(room)]
  await ada.send("hello", UNICODE)
  await arrives(bob, "hello", UNICODE)
  for (let n = 0; n < 50; n++) void bob.send("count", {n})
  await arrives(ada, "count", {n: 49})
  assert.deepEqual(ada.broadcasts, Array.from({length: 50}, (_, n) => ({event: "count", payload: {n}})), "in order, and none of her own")
}

async function bytes(lab) {
  if (lab.client.generation === 1) return "version 1.0.0 carries JSON only"
  const room = lab.named("room")
  const [ada, bob, old] = [await lab.enter(room), await lab.enter(room), await lab.enter(room, {}, {client: lab.other})]
  await ada.send("bytes", new Uint8Array([0, 255, 128]).buffer)
  await ada.send("end", {})
  await arrives(bob, "end", {})
  await arrives(old, "end", {})
  assert.deepEqual(bob.broadcasts.map(({event, payload}) => [event, payload instanceof ArrayBuffer ? [...new Uint8Array(payload)] : payload]),
    [["bytes", [0, 255, 128]], ["end", {}]])
  assert.deepEqual(old.broadcasts, [{event: "end", payload: {}}], "version 1.0.0 gets no bytes")
}

async function ackAndSelf(lab) {
  const room = lab.named("room")
  const ada = await lab.enter(room, {broadcast: {ack: true, self: true}})
  const bob = await lab.enter(room, {broadcast: {ack: true}})
  assert.equal(await ada.send("mine", {}), "ok")
  assert.equal(await bob.send("his", {}), "ok")
  await arrives(ada, "his", {})
  await arrives(bob, "mine", {})
  assert.deepEqual([ada, bob].map(({broadcasts}) => broadcasts.map(({event}) => event)), [["mine", "his"], ["mine"]])
}

async function generations(lab) {
  const room = lab.named("room")
  const [ada, old] = [await lab.enter(room), await lab.enter(room, {}, {client: lab.other})]
  await ada.send("hello", UNICODE)
  await arrives(old, "hello", UNICODE)
  await old.send("hello", {n: 2})
  await arrives(ada, "hello", {n: 2})
}

async function presence(lab) {
  const room = lab.named("room")
  const enter = key => lab.enter(room, {presence: {key, enabled: true}})
  const [ada, bob] = [await enter("ada"), await enter("bob")]
  assert.equal(await ada.channel.track({at: 1}), "ok")
  for (const seen of [ada, bob]) await becomes("ada is here", seen.here, {ada: [{at: 1}]})
  assert.equal(await bob.channel.track({at: 1}), "ok")
  const late = await enter("late")
  await becomes("who comes later sees both", late.here, {ada: [{at: 1}], bob: [{at: 1}]})
  assert.equal(await ada.channel.track({at: 2}), "ok")
  for (const seen of [ada, bob, late]) await becomes("ada has moved", seen.here, {ada: [{at: 2}], bob: [{at: 1}]})
  assert.equal(await ada.channel.untrack(), "ok")
  for (const seen of [ada, bob, late]) await becomes("ada has gone", seen.here, {bob: [{at: 1}]})
  bob.user.close()
  await becomes("bob's connection is closed", late.here, {})
}

async function privateChannels(lab) {
  const team = lab.named("team")
  const user = async (name, config) => {
    const one = lab.open()
    await one.setAuth(tokenOf(name))
    const seen = watch(one, team, config)
    await seen.status("SUBSCRIBED")
    return seen
  }
  const [ada, bob, outsider] = [await user("ada", {private: true}), await user("bob", {private: true}), await user("eve", {})]
  await outsider.send("public", {})
  await ada.send("secret", {n: 1})
  await arrives(bob, "secret", {n: 1})
  assert.deepEqual([bob.broadcasts.length, outsider.broadcasts.length], [1, 0], "a public channel of the same name is another one")
}

async function privateRefused(lab) {
  const user = lab.open()
  await user.setAuth(tokenOf("eve"))
  const seen = watch(user, "user-ada", {private: true})
  await seen.status("CHANNEL_ERROR")
  assert.match(seen.statuses[0], /Unauthorized: You do not have permissions to read from this Channel topic: user-ada/)
}

async function tokenRenewed(lab) {
  const name = lab.named("ada")
  const user = lab.open()
  await user.setAuth(tokenOf(name, 5))
  const seen = watch(user, `user-${name}`, {private: true})
  await seen.status("SUBSCRIBED")
  await user.setAuth(tokenOf(name))
  const bob = lab.open({key: tokenOf(name)})
  await new Promise(resolve => setTimeout(resolve, 5500)) // the first token has expired
  const other = watch(bob, `user-${name}`, {private: true})
  await other.status("SUBSCRIBED")
  await seen.send("still", {})
  await arrives(other, "still", {})
  assert.deepEqual(seen.statuses, ["SUBSCRIBED"])
}

async function tokenExpired(lab) {
  const user = lab.open()
  const stays = watch(user, lab.named("room"))
  await stays.status("SUBSCRIBED")
  await user.setAuth(tokenOf("ada", 5))
  const seen = watch(user, lab.named("team"), {private: true})
  await seen.status("SUBSCRIBED")
  await seen.status("CLOSED")
  assert.match(seen.system[0].message, /^Token has expired \d+ seconds ago$/)
  assert.equal(seen.system[0].status, "error")
  const closed = stays.statuses.filter(status => status !== "SUBSCRIBED" && status !== "CLOSED")
  assert.deepEqual(closed, [], "the connection stays")
}

async function http(lab) {
  const room = lab.named("room/1") // an address has it escaped
  const ada = await lab.enter(room)
  const back = lab.open().channel(room, {})
  if (back.httpSend) {
    assert.deepEqual(await back.httpSend("single", UNICODE), {success: true})
    await arrives(ada, "single", UNICODE)
    if (lab.client.generation === 2) {
      assert.deepEqual(await back.httpSend("bytes", new Uint8Array([0, 255])), {success: true})
      await until("the bytes arrive", () => ada.broadcasts.find(({event}) => event === "bytes"), () => ada)
      assert.deepEqual([...new Uint8Array(ada.broadcasts.at(-1).payload)], [0, 255])
    }
  }
  assert.equal(await back.send({type: "broadcast", event: "batch", payload: {n: 1}}), "ok") // not subscribed
  await arrives(ada, "batch", {n: 1})
}

async function replay(lab) {
  const room = lab.named("team")
  const enter = async (name, broadcast) => {
    const user = lab.open({http: lab.kept})
    await user.setAuth(tokenOf(name))
    const seen = watch(user, room, {private: true, broadcast})
    await seen.status("SUBSCRIBED")
    return seen
  }
  const ada = await enter("ada", {ack: true})
  for (const n of [1, 2, 3]) assert.equal(await ada.send("count", {n}), "ok")
  const bob = await enter("bob", {replay: {since: Date.now() - 60_000, limit: 2}})
  assert.equal(await ada.send("count", {n: 4}), "ok")
  await until("bob gets the last two, and what comes then", () => same(bob.broadcasts.map(({payload}) => payload.n), [2, 3, 4]), () => bob.broadcasts)
}

async function replayRefused(lab) {
  const user = lab.open()
  await user.setAuth(tokenOf("ada"))
  const seen = watch(user, lab.named("team"), {private: true, broadcast: {replay: {since: Date.now() - 1000, limit: 5}}})
  await seen.status("CHANNEL_ERROR")
  assert.match(seen.statuses[0], /UnableToReplayMessages/)
}

async function changes(lab) {
  const seen = watch(lab.open(), lab.named("room"), {}, {changes: {event: "INSERT", schema: "public", table: "todos"}})
  await seen.status("CHANNEL_ERROR")
  assert.match(seen.statuses[0], /does not deliver postgres_changes/)
}

async function reconnect(lab) {
  const [room, name] = [lab.named("room"), lab.named("ada")]
  const ada = await lab.enter(room, {presence: {key: "ada", enabled: true}}, {key: tokenOf(name)})
  const bob = await lab.enter(room, {presence: {key: "bob", enabled: true}})
  await ada.channel.track({at: 1})
  await becomes("ada is here", bob.here, {ada: [{at: 1}]})
  const {server} = lab
  const answer = await fetch(`${server.http}/api/instances/default/disconnect`, {
    method: "POST", headers: await server.headers({"Content-Type": "application/json"}), body: JSON.stringify({socket_id: `user:${name}`}),
  })
  assert.equal(answer.status, 204)
  if (lab.client.name.endsWith(" 2.11.15")) {
    await ada.status("CHANNEL_ERROR")
    await becomes("ada is gone", bob.here, {})
    return "this version of the client does not join again after a lost connection, against any server (RealtimeClient.ts, disconnect)"
  }
  await ada.status("SUBSCRIBED", 2)
  await ada.channel.track({at: 2})
  await becomes("ada is back", bob.here, {ada: [{at: 2}]})
  await bob.send("hello", {n: 1})
  await arrives(ada, "hello", {n: 1})
}

async function limits(lab) {
  const options = {http: lab.limited}
  const ada = await lab.enter(lab.named("room"), {presence: {key: "ada", enabled: true}, broadcast: {ack: true}}, options)
  assert.equal(await ada.send("large", {body: "x".repeat(1000)}), "error")
  const second = watch(ada.user, lab.named("second"))
  await second.status("CHANNEL_ERROR")
  assert.match(second.statuses[0], /ChannelRateLimitReached: Too many channels/)
  await second.channel.unsubscribe()
  for (const at of [1, 2, 3]) void ada.channel.track({at})
  await ada.status("CLOSED")
  assert.equal(ada.system[0].message, "Client presence rate limit exceeded")
}

async function refused(lab) {
  for (const key of [KEY + "x", tokenOf("ada", -60)]) {
    const seen = watch(lab.open({key}), lab.named("room"))
    await seen.status("CHANNEL_ERROR")
    await seen.channel.unsubscribe()
  }
}

export const BEHAVIOURS = {
  "subscribe, unsubscribe": subscribe,
  "connection refused": refused,
  "broadcast": broadcast,
  "broadcast of bytes": bytes,
  "ack, self": ackAndSelf,
  "two generations in one channel": generations,
  "presence: key, track, update, untrack": presence,
  "private channel": privateChannels,
  "private channel refused": privateRefused,
  "token renewed": tokenRenewed,
  "token expired": tokenExpired,
  "HTTP": http,
  "replay": replay,
  "replay refused": replayRefused,
  "postgres_changes refused": changes,
  "reconnect": reconnect,
  "limits": limits,
}
