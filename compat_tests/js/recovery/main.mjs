// Cuts every client that can run here off, by each way, CUTS (200) times; then ends the node that each of them is on as often. Prints the
// table of docs/history.md, and with --write writes it there. "make recovery".

import fs from "node:fs/promises"
import {NOTES, PROGRAMS, WAYS} from "./programs.mjs"
import {NodesTrial, ServerTrial} from "./trial.mjs"

const GUIDE = new URL("../../../docs/history.md", import.meta.url)
const CUTS = Number(process.env.CUTS ?? 200)
const AT_ONCE = 10 // clients

/** A scope that ends when it is told to. */
class Scope {
  closers = []
  defer(closer) { this.closers.push(closer) }
  async close() { while (this.closers.length > 0) await this.closers.pop()() }
}

/** Runs with a scope, and returns the error if there was one. */
async function within(run) {
  const scope = new Scope()
  try { return await run(scope) } catch (error) { return error } finally { await scope.close() }
}

const ways = process.env.RECOVERY_WAYS?.split(",") ?? WAYS

const offered = programs => programs.flatMap(program => ways.filter(way => !program.lacks?.[way]).map(way => ({program, way})))

const say = text => process.stderr.write(`${text}\n`)

const told = (name, seen) => say(seen instanceof Error ? `${name}: ${seen.stack}`
  : `${name}: ${seen.next - seen.first} numbers, ${seen.twice} of them again, ${JSON.stringify(seen.cuts)}`)

/** Cuts connections to one server. Returns what was seen, by name and way. */
async function cut(programs, supabase, results) {
  const failure = await within(async scope => {
    const trial = await ServerTrial.start(scope, supabase)
    const journeys = offered(programs)
    const travel = async () => {
      for (let one = journeys.shift(); one; one = journeys.shift()) {
        const {program, way} = one
        const seen = await within(own => trial.travel(own, program, way, CUTS))
        told(`${program.name}, ${way}`, seen)
        results.set(`${program.name} ${way}`, seen)
      }
    }
    await Promise.all(Array.from({length: AT_ONCE}, travel))
  })
  if (failure) throw failure
}

/** Ends the nodes under the clients, as many as fit at a time. */
async function endNodes(programs, supabase, results) {
  const journeys = offered(programs)
  while (journeys.length > 0) {
    const some = journeys.splice(0, AT_ONCE)
    const seen = await within(async scope => {
      const trial = await NodesTrial.start(scope, supabase)
      const travellers = await Promise.all(some.map(({program, way}) => trial.board(scope, program, way)))
      const errors = await trial.travel(travellers, CUTS)
      return travellers.map(one => errors.get(one) ?? one)
    })
    some.forEach(({program, way}, i) => {
      const one = seen instanceof Error ? seen : seen[i]
      told(`${program.name}, ${way}, nodes`, one)
      results.set(`${program.name} ${way}`, one)
    })
  }
}

/** A cell: how many numbers came again for each hundred, or why there is none. */
function cell(program, way, results) {
  if (program.lacks?.[way]) return `– <sup>${program.lacks[way]}</sup>`
  const seen = results.get(`${program.name} ${way}`)
  if (!seen) return "not run"
  return seen instanceof Error ? "**lost**" : `yes, ${Math.round(seen.twice / (seen.next - seen.first) * 100)} %`
}

const tableOf = (title, programs, results) => [
  `| ${title} | ${WAYS.map(way => `\`${way}\``).join(" | ")} |`,
  `|---|${":-:|".repeat(WAYS.length)}`,
  ...programs.map(program => `| ${program.name} | ${WAYS.map(way => cell(program, way, results)).join(" | ")} |`),
].join("\n")

const only = process.env.RECOVERY_ONLY ?? ""
const programs = PROGRAMS.filter(({name, missing}) => {
  if (missing) say(`${name}: ${missing}`)
  return !missing && name.includes(only)
})
const [onServer, onNodes] = [new Map(), new Map()]
for (const supabase of [false, true]) {
  const some = programs.filter(program => Boolean(program.supabase) === supabase)
  if (some.length === 0) continue
  if (process.env.RECOVERY_PART !== "nodes") await cut(some, supabase, onServer)
  if (process.env.RECOVERY_PART !== "server") await endNodes(some, supabase, onNodes)
}
const notes = NOTES.map((note, i) => `${i + 1}. ${note}`).join("\n")
const table = [
  tableOf(`connection cut ${CUTS} times`, PROGRAMS, onServer),
  tableOf(`node stopped or killed ${CUTS} times`, PROGRAMS, onNodes),
  notes,
].join("\n\n")
console.log(table)
if (process.argv.includes("--write")) {
  const text = await fs.readFile(GUIDE, "utf8")
  const [, before, after] = /^(.*<!-- begin: written by make recovery -->\n).*(\n<!-- end -->.*)$/s.exec(text)
  await fs.writeFile(GUIDE, `${before}\n${table}\n${after}`)
}
if ([...onServer.values(), ...onNodes.values()].some(seen => seen instanceof Error)) process.exitCode = 1
