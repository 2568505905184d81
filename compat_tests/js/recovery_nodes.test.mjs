// What clients missed, on three nodes: the node that they are on is stopped or killed, again and again, while numbers are published on another one.
// Clients in long polling change nodes with each request.

import assert from "node:assert/strict"
import test from "node:test"
import {PROGRAMS, WAYS} from "./recovery/programs.mjs"
import {NodesTrial} from "./recovery/trial.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"

leaveNothingBehind()

const ROUNDS = 4
const FOREIGN = Boolean(process.env.MYCELIUM_CLIENTS) // make test-clients: those that are not npm's

for (const supabase of [false, true]) {
  test(supabase ? "Supabase's clients" : "Phoenix's clients", async t => {
    const scope = new Scope(t)
    const trial = await NodesTrial.start(scope, supabase)
    const programs = PROGRAMS.filter(({name, foreign = false, supabase: dialect = false}) =>
      dialect === supabase && foreign === FOREIGN && (foreign || supabase || /^phoenix 1.8.16(, long polling)?$/.test(name)))
    for (const {missing} of programs) assert.equal(missing, undefined)
    const travellers = await Promise.all(programs.flatMap(program =>
      WAYS.filter(way => !program.lacks?.[way]).map(way => trial.board(scope, program, way))))
    assert.deepEqual([...(await trial.travel(travellers, ROUNDS)).values()], [])
    for (const {name, next, first, twice} of travellers) t.diagnostic(`${name}: ${next - first} numbers, ${twice} of them again`)
  })
}
