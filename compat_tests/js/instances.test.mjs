// docs/instances.md: its commands print what it says, its player plays, and a killed server loses nothing of the game.

import assert from "node:assert/strict"
import {execFile} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import test from "node:test"
import {promisify} from "node:util"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {snippetsOf, start} from "./snippet.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

const run = promisify(execFile)
const guide = () => fs.readFile(new URL("../../docs/instances.md", import.meta.url), "utf8")

/** Returns the lines "$ …" of the sh blocks, each with the output below it, in which … matches anything. */
function commandsOf(markdown) {
  const blocks = [...markdown.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => `\n${block}`)
  return blocks.flatMap(block => block.split("\n$ ").slice(1)).map(part => {
    const [command, ...output] = part.split("\n")
    const escaped = output.join("\n").trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("…", ".*")
    return {command, output: new RegExp(`^${escaped}$`, "s")}
  })
}

async function obey(server, {command, output}) {
  const {stdout} = await run("sh", ["-c", command.replaceAll("localhost:4000", server.address)], {env: server.environment})
  assert.match(stdout.trim().replaceAll(server.address, "localhost:4000"), output, command)
}

test("docs/instances.md: two players, and a server that is killed in the middle", async t => {
  const scope = new Scope(t)
  const data = await fs.mkdtemp(path.join(os.tmpdir(), "instances-"))
  scope.defer(() => fs.rm(data, {recursive: true}))
  let server = await startServer(scope, "mycelium", {more: ["--data", data]})
  const text = await guide()
  const commands = commandsOf(text)
  assert.equal(commands.length, 5, "the guide has five commands with their output")
  for (const one of commands.slice(0, 3)) await obey(server, one)

  const [player, ...others] = snippetsOf(text, "phoenix")
  assert.ok(player && others.length === 0, "the guide has one program")
  const play = (name, token = "") => {
    const code = player.replaceAll("localhost:4000", server.address).replace("process.argv.slice(2)", JSON.stringify([name, token]))
    return start(scope, `instances-${name}${token && "-again"}`, code)
  }
  const ada = await play("ada")
  await until("ada sits", () => /ada has seat 0, token (\w+)/.exec(ada.output.out), () => ada.output)
  const token = /token (\w+)/.exec(ada.output.out)[1]

  // The server dies with one player seated: the table, the seat and its owner are there again.
  server.child.kill("SIGKILL")
  if (server.child.exitCode === null && server.child.signalCode === null) await once(server.child, "exit")
  server.failure = "killed by the test"
  server = await startServer(scope, "mycelium", {more: ["--data", data]})

  const again = await play("ada", token)
  const bob = await play("bob")
  await until("bob has the other seat", () => /bob has seat 1/.test(bob.output.out), () => ({bob: bob.output, again: again.output}))
  await until("the game ends for both", () => /seat [01] wins/.test(bob.output.out) && /seat [01] wins/.test(again.output.out), () => ({bob: bob.output, again: again.output}))
  assert.equal(bob.output.err + again.output.err, "")
  for (const one of commands.slice(3)) await obey(server, one)
})
