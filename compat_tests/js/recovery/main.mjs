// Cuts every client that can run here off, by each way, CUTS (200) times; then ends the node that some of them are on as often. Prints the
// table of docs/history.md, and with --write writes it there. "make recovery". Parts of it run with RECOVERY_PART (server or nodes),
// RECOVERY_WAYS (after,session) and RECOVERY_ONLY (part of a client's name): other cells keep what the table says, if that was for as many cuts.

import fs from "node:fs/promises"
import {NOTES, PROGRAMS, WAYS} from "./programs.mjs"
import {NodesTrial, ServerTrial} from "./trial.mjs"

const GUIDE = new URL("../../../docs/history.md", import.meta.url)
const CUTS = Number(process.env.CUTS ?? 200)
const AT_ONCE = Number(process.env.RECOVERY_AT_ONCE ?? 12) // clients

// The clients whose nodes end: one for each protocol and transport, because their other versions see nothing but a connection that is cut.
const ON_NODES = ["phoenix 1.8.16", "phoenix 1.8.16, long polling", "realtime-js 2.119.1"]

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
  : `${name}: ${seen.next - seen.first} numbers, ${seen.twice} of them again, ${seen.lost} dropped by the client, ${JSON.stringify(seen.cuts)}`)

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

/** What a table of the guide says, by program and way. */
function cellsOf(guide, head) {
  const cells = new Map()
  const [, rows = ""] = guide.split(`${head}\n`)
  for (const row of rows.split("\n\n")[0].split("\n").slice(1)) {
    const [name, ...texts] = row.split("|").slice(1, -1).map(text => text.trim())
    WAYS.forEach((way, i) => cells.set(`${name} ${way}`, texts[i]))
  }
  return cells
}

/** A cell: how many numbers came again for each hundred, or why there is none. */
function cell(program, way, results, before) {
  if (program.lacks?.[way]) return `– <sup>${program.lacks[way]}</sup>`
  const seen = results.get(`${program.name} ${way}`)
  if (!seen) return before.get(`${program.name} ${way}`) ?? "not run"
  return seen instanceof Error ? "**lost**" : `${seen.lost > 0 ? `${seen.lost} dropped by the client` : "yes"}, ${Math.round(seen.twice / (seen.next - seen.first) * 100)} %`
}

function tableOf(guide, title, programs, results) {
  const head = `| ${title} | ${WAYS.map(way => `\`${way}\``).join(" | ")} |`
  const before = cellsOf(guide, head)
  const row = program => `| ${program.name} | ${WAYS.map(way => cell(program, way, results, before)).join(" | ")} |`
  return [head, `|---|${":-:|".repeat(WAYS.length)}`, ...programs.map(row)].join("\n")
}

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
  if (process.env.RECOVERY_PART !== "server") await endNodes(some.filter(({name}) => ON_NODES.includes(name)), supabase, onNodes)
}
const text = await fs.readFile(GUIDE, "utf8")
const tables = [
  tableOf(text, `connection cut ${CUTS} times`, PROGRAMS, onServer),
  tableOf(text, `node stopped or killed ${CUTS} times`, PROGRAMS.filter(({name}) => ON_NODES.includes(name)), onNodes),
].join("\n\n")
const notes = NOTES.map((note, i) => `${i + 1}. ${note}`).filter((_, i) => tables.includes(`<sup>${i + 1}</sup>`)).join("\n")
const table = `${tables}\n\n${notes}`
console.log(table)
if (process.argv.includes("--write")) {
  const [, before, after] = /^(.*<!-- begin: written by make recovery -->\n).*(\n<!-- end -->.*)$/s.exec(text)
  await fs.writeFile(GUIDE, `${before}\n${table}\n${after}`)
}
if ([...onServer.values(), ...onNodes.values()].some(seen => seen instanceof Error)) process.exitCode = 1
