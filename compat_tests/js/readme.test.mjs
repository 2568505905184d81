// The phoenix.js snippet of README.md does what it says.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import test from "node:test"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {runSnippet, snippetsOf} from "./snippet.mjs"

leaveNothingBehind()

test("README.md: the phoenix.js snippet works", async t => {
  const scope = new Scope(t)
  const snippets = snippetsOf(await fs.readFile(new URL("../../README.md", import.meta.url), "utf8"), "phoenix")
  assert.ok(snippets.length > 0, 'README.md has a fenced js block with: from "phoenix"')
  const server = await startServer(scope)
  for (const [index, code] of snippets.entries()) await runSnippet(scope, `readme-${index + 1}`, code, server.endpoint)
})
