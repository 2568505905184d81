// Runs clients, and makes the table of the results.

import {fork} from "node:child_process"
import {once} from "node:events"
import {fileURLToPath} from "node:url"
import {browserNamed, runsOn} from "../browser.mjs"
import {BEHAVIOURS} from "./behaviours.mjs"
import {CLIENTS, NOTES} from "./clients.mjs"

const WORKER = fileURLToPath(new URL("worker.mjs", import.meta.url))

/** How many clients run at the same time. They mostly wait. */
export const AT_ONCE = 4

/** The clients of this run, see runsOn. */
export const clientsOfRun = () => CLIENTS.filter(({browser = "Node"}) => runsOn(browser))

/** Returns why a client cannot run here, or undefined. */
export const missingFor = ({browser}) => browser && browserNamed(browser).missing

/** The clients that can run here, the slowest first. */
export const clientsHere = () => clientsOfRun().filter(client => !missingFor(client))
  .sort((a, b) => Boolean(b.browser) - Boolean(a.browser))

/** Runs a client; resolves with [{behaviour, mark, error}], one for each behaviour, in their order. */
export async function runClient({name}) {
  const env = {...process.env}
  delete env.NODE_TEST_CONTEXT // the child is not a test file
  const child = fork(WORKER, [name], {stdio: ["ignore", "pipe", "pipe", "ipc"], env})
  const results = new Map()
  let output = ""
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", text => { output += text })
  child.on("message", result => results.set(result.behaviour, result))
  const [code, signal] = await once(child, "exit")
  const missing = {mark: "FAIL", error: `the client's process ended with ${signal ?? code}\n${output}`}
  if (code !== 0 && results.size === BEHAVIOURS.length) results.set(BEHAVIOURS.at(-1).name, missing)
  return BEHAVIOURS.map(({name: behaviour}) => ({behaviour, ...(results.get(behaviour) ?? missing)}))
}

/** Runs all clients that can run here, and resolves with a Map of their results. `done` is called with each result. */
export async function runMatrix(done = () => {}) {
  const results = new Map()
  const left = clientsHere()
  const next = async () => {
    for (let client = left.shift(); client; client = left.shift()) {
      results.set(client.name, await runClient(client))
      done(client, results.get(client.name))
    }
  }
  await Promise.all(Array.from({length: AT_ONCE}, next))
  return results
}

const noteOf = ({notes = {}}, where) => notes[where] ? ` <sup>${notes[where]}</sup>` : ""

/** Returns the table as Markdown, with its notes, for {client name → results} in the order of the clients. */
export function tableOf(results) {
  const ran = CLIENTS.filter(({name}) => results.has(name))
  const cell = (client, row, behaviour) => results.get(client.name)[row].mark + noteOf(client, behaviour)
  const lines = [
    ["", ...ran.map(client => client.name + noteOf(client, "all"))],
    ["---", ...ran.map(() => ":-:")],
    ...BEHAVIOURS.map(({name}, row) => [name, ...ran.map(client => cell(client, row, name))]),
  ].map(cells => `| ${cells.join(" | ")} |`)
  return [...lines, "", ...NOTES.map((note, i) => `${i + 1}. ${note}`)].join("\n")
}
