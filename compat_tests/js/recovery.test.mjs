// What clients missed: published clients, unchanged, with what docs/history.md has them do. Their connections are cut in all the ways in which
// networks do that, while numbers are published; each must get every number, and none twice but where the guide says so.

import assert from "node:assert/strict"
import test from "node:test"
import {PROGRAMS, WAYS} from "./recovery/programs.mjs"
import {ServerTrial} from "./recovery/trial.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"

leaveNothingBehind()

const CUTS = 6
const ONLY = process.env.RECOVERY_ONLY ?? "" // part of the name of clients
const FOREIGN = Boolean(process.env.MYCELIUM_CLIENTS) // make test-clients: those that are not npm's

/** Of clients that differ only in their version, one goes all ways. */
const waysOf = ({name, foreign, supabase}) => foreign || supabase || name === "phoenix 1.8.16" ? WAYS : ["after", "session"]

for (const supabase of [false, true]) {
  test(supabase ? "Supabase's clients" : "Phoenix's clients", async t => {
    const trial = await ServerTrial.start(new Scope(t), supabase)
    const journeys = PROGRAMS.filter(program => Boolean(program.supabase) === supabase && program.name.includes(ONLY) && Boolean(program.foreign) === FOREIGN)
      .flatMap(program => waysOf(program).filter(way => !program.lacks?.[way]).map(way => [program, way]))
    await t.test("cut off", {concurrency: 6}, t => Promise.all(journeys.map(([program, way]) => {
      const name = `${program.name}: ${way}`
      if (program.missing && process.env.CI !== "true" && !program.foreign) return t.test(name, {skip: program.missing}, () => {})
      return t.test(name, async t => {
        assert.equal(program.missing, undefined)
        const {next, first, twice, marks} = await trial.travel(new Scope(t), program, way, CUTS)
        t.diagnostic(`${next - first} numbers, ${twice} of them again, ${marks} marks`)
      })
    })))
  })
}
