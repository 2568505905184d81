// Runs a phoenix.js snippet as a reader would who pastes it into a file: in its own process, with another client in its room.

import assert from "node:assert/strict"
import {spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {Client} from "./client.mjs"
import {until} from "./wait.mjs"

const folder = new URL("artifacts/", import.meta.url)
const withWebSocket = fileURLToPath(new URL("websocket.mjs", import.meta.url))

/** Returns the fenced js blocks of a Markdown text that import from a package. */
export function snippetsOf(markdown, name) {
  const fences = markdown.matchAll(/^```(?:js|javascript|mjs)\b[^\n]*\n(.*?)^```/gms)
  return [...fences].map(([, code]) => code).filter(code => code.includes(`from "${name}"`))
}

/** Runs code in its own process, which ends with the scope. */
export async function start(scope, name, code) {
  await fs.mkdir(folder, {recursive: true})
  const file = fileURLToPath(new URL(`${name}.mjs`, folder))
  await fs.writeFile(file, code)
  const child = spawn(process.execPath, ["--import", withWebSocket, file], {stdio: ["ignore", "pipe", "pipe"]})
  const output = {out: "", err: ""}
  child.stdout.setEncoding("utf8").on("data", text => { output.out += text })
  child.stderr.setEncoding("utf8").on("data", text => { output.err += text })
  scope.defer(async () => {
    const exit = once(child, "exit")
    if (child.exitCode === null && child.kill()) await exit
    await fs.rm(file)
  })
  return {child, output}
}

/**
 * Runs `code` against the server at `endpoint` and checks that it works: it joins its topic, its pushes arrive, and its handlers
 * get what others push.
 */
export async function runSnippet(scope, name, code, endpoint) {
  const addressed = code.replace(/wss?:\/\/[^/"'`\s]+\/socket/g, endpoint)
  assert.ok(addressed.includes(endpoint), `the snippet names a socket address:\n${code}`)
  const [, topic] = /\.channel\(\s*["'`]([^"'`]+)["'`]/.exec(code) ?? assert.fail(`the snippet joins a topic:\n${code}`)

  const witness = new Client(phoenix, {endpoint, transport: WebSocket, topic, join: {user: "the witness"}})
  scope.defer(() => witness.close())
  await until("the witness has joined", () => witness.snapshot().here?.["the witness"])

  const {child, output} = await start(scope, name, addressed)
  const seen = () => ({...output, exit: child.exitCode, ...witness.snapshot()})
  const others = () => witness.came.filter(({key}) => key !== "the witness")
  await until(`the ${name} snippet joins ${topic}`, () => others().length > 0 || child.exitCode !== null, seen)

  for (const [, event] of code.matchAll(/\.push\(\s*["'`]([^"'`]+)["'`]/g)) {
    await until(`its push of ${event} arrives`, () => witness.events.some(one => one.event === event) || child.exitCode !== null, seen)
  }
  for (const [, event] of code.matchAll(/\.on\(\s*["'`]([^"'`]+)["'`]/g)) {
    const body = `from the witness: ${event}`
    assert.equal((await witness.push(event, {user: "the witness", body})).status, "ok")
    await until(`its handler of ${event} prints what came`, () => output.out.includes(body) || child.exitCode !== null, seen)
  }
  assert.equal(child.exitCode, null, `the snippet runs on:\n${output.err}`)
  assert.equal(output.err, "")
}
