// Scenarios with two users of an unchanged phoenix client. The same steps run in Node and in browsers. A driver opens clients:
// `open({user, …}) → {snapshot, push, pushBytes, leave, kill, close}`, all async.

import assert from "node:assert/strict"
import {same, until} from "./wait.mjs"

const when = (who, what, check) => until(`${who.user} ${what}`, async () => check(await who.snapshot()), () => who.snapshot())

const sees = (who, here) => when(who, `sees ${JSON.stringify(here)}`, seen => same(seen.here, here))

const receives = (who, event, payload) =>
  when(who, `receives ${event}`, ({events}) => events.some(one => one.event === event && same(one.payload, payload)))

async function aliceAndBob(open) {
  const alice = await open({user: "alice"})
  await sees(alice, {alice: 1})
  const bob = await open({user: "bob"})
  await Promise.all([sees(alice, {alice: 1, bob: 1}), sees(bob, {alice: 1, bob: 1})])
  return {alice, bob}
}

/** Checks that they are as before: joined again, each present once, with messages in both directions. */
async function rightAgain({alice, bob}) {
  await when(alice, "has joined again", ({joins, joined}) => joins === 2 && joined)
  await Promise.all([sees(alice, {alice: 1, bob: 1}), sees(bob, {alice: 1, bob: 1})])
  assert.deepEqual(await alice.push("new_msg", {body: "back"}), {status: "ok", response: {}})
  await receives(bob, "new_msg", {body: "back"})
  assert.deepEqual(await bob.push("new_msg", {body: "welcome"}), {status: "ok", response: {}})
  await receives(alice, "new_msg", {body: "welcome"})
  const {joins, closes} = await bob.snapshot()
  assert.deepEqual({joins, closes}, {joins: 1, closes: []}, "bob's own connection was never touched")
}

// Bob is told both that the old connection is gone and that Alice is back, in any order.
async function bobSawHerGoAndCome(bob) {
  await when(bob, "saw alice go", ({left}) => left.some(({key, left}) => key === "alice" && left === 1))
  await when(bob, "saw alice come a second time", ({came}) => came.filter(({key}) => key === "alice").length === 2)
}

export async function talk({open}) {
  const {alice, bob} = await aliceAndBob(open)
  const hello = {user: "alice", body: "Grüße <b>&</b> 你好 🍄", at: "2024-01-01T00:00:00Z", n: [1, 2.5, null, true]}
  assert.deepEqual(await alice.push("new_msg", hello), {status: "ok", response: {}})
  await Promise.all([receives(alice, "new_msg", hello), receives(bob, "new_msg", hello)])
  assert.deepEqual(await bob.push("shout", {body: "hey"}), {status: "ok", response: {}})
  await Promise.all([receives(alice, "shout", {body: "hey"}), receives(bob, "shout", {body: "hey"})])

  for (let n = 0; n < 100; n++) void bob.push("count", {n})
  const counted = ({events}) => events.filter(({event}) => event === "count").map(({payload}) => payload.n)
  await when(alice, "counts to 100", seen => counted(seen).length === 100)
  assert.deepEqual(counted(await alice.snapshot()), Array.from({length: 100}, (_, n) => n), "in the order they were pushed")
}

export async function withoutSelf({open}) {
  const alice = await open({user: "alice", join: {self: false}})
  const bob = await open({user: "bob"})
  await sees(bob, {alice: 1, bob: 1})
  assert.equal((await alice.push("new_msg", {n: 1})).status, "ok")
  await receives(bob, "new_msg", {n: 1})
  assert.equal((await bob.push("new_msg", {n: 2})).status, "ok")
  await receives(alice, "new_msg", {n: 2})
  assert.deepEqual((await alice.snapshot()).events, [{event: "new_msg", payload: {n: 2}}], "not her own")
}

export async function presence({open}) {
  const {alice, bob} = await aliceAndBob(open)
  const first = await alice.snapshot()
  assert.deepEqual(first.came.filter(({key}) => key === "bob"), [{key: "bob", before: 0, joined: 1}])
  assert.equal(first.metas.bob[0].device, "bob's", "the join param meta")
  assert.match(first.metas.bob[0].phx_ref, /^.+$/)
  assert.ok(first.syncs >= 2)

  const tab = await open({user: "bob"})
  await Promise.all([alice, bob, tab].map(who => sees(who, {alice: 1, bob: 2})))
  const second = await alice.snapshot()
  assert.deepEqual(second.came.at(-1), {key: "bob", before: 1, joined: 1}, "a second tab's diff has only its own meta")
  const [one, two] = second.metas.bob
  assert.notEqual(one.phx_ref, two.phx_ref)

  await tab.close()
  await Promise.all([alice, bob].map(who => sees(who, {alice: 1, bob: 1})))
  assert.deepEqual((await alice.snapshot()).left, [{key: "bob", after: 1, left: 1}])

  assert.deepEqual(await bob.leave(), {status: "ok", response: {}})
  await when(bob, "is told that the channel is closed", ({closed}) => closed)
  await sees(alice, {alice: 1})
  const last = await alice.snapshot()
  assert.deepEqual(last.left.at(-1), {key: "bob", after: 0, left: 1})
  assert.ok(last.syncs > second.syncs)
}

export async function forcedDisconnect({open}) {
  const {alice, bob} = await aliceAndBob(open)
  assert.equal((await bob.push("disconnect_user", {id: "alice"})).status, "ok")
  await when(alice, "is closed with 1001", ({closes}) => same(closes, [1001]))
  await bobSawHerGoAndCome(bob)
  await rightAgain({alice, bob})
  assert.deepEqual((await alice.snapshot()).closes, [1001])
}

export async function killedConnection({open}) {
  const {alice, bob} = await aliceAndBob(open)
  await alice.kill()
  await when(alice, "loses her connection without a close frame", ({closes}) => same(closes, [1006]))
  await bobSawHerGoAndCome(bob)
  await rightAgain({alice, bob})
}

const base64 = bytes => Buffer.from(bytes).toString("base64")
const everyByte = base64(Array.from({length: 256}, (_, byte) => byte))
const large = base64(Array.from({length: 70_000}, (_, n) => (n * 31) % 251)) // longer than a 16 bit length

/** The relay answers ok and broadcasts what it gets. */
export async function binaryRelay({open}) {
  const {alice, bob} = await aliceAndBob(open)
  for (const bytes of [everyByte, base64([]), base64([0])]) {
    assert.deepEqual(await alice.pushBytes("blob", bytes), {status: "ok", response: {}})
    await Promise.all([alice, bob].map(who => receives(who, "blob", {base64: bytes})))
  }
}

/** An application replies with the bytes that it gets, and broadcasts them as another event. */
export async function binaryReply({open}) {
  const {alice, bob} = await aliceAndBob(open)
  for (const bytes of [everyByte, large]) {
    assert.deepEqual(await alice.pushBytes("bin", bytes), {status: "ok", response: {base64: bytes}})
    await Promise.all([alice, bob].map(who => receives(who, "bin_shout", {base64: bytes})))
  }
}

/** [name, scenario, the servers it runs on in Node, the server it runs on in browsers, where each step costs more]. */
export const scenarios = [
  ["two users exchange messages", talk, ["mycelium", "jsapp"], "mycelium"],
  ["self: false leaves the sender out", withoutSelf, ["mycelium"]],
  ["users come and go, two tabs are two metas", presence, ["mycelium", "jsapp"], "mycelium"],
  ["a killed TCP connection is survived", killedConnection, ["mycelium", "jsapp"], "mycelium"],
  ["a forced disconnect (1001) is survived", forcedDisconnect, ["jsapp"], "jsapp"],
  ["binary payloads are relayed", binaryRelay, ["mycelium"]],
  ["binary payloads are replied and broadcast", binaryReply, ["jsapp"], "jsapp"],
]
