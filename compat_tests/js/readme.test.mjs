// The phoenix.js snippet of README.md works in Node, and in a page on another port, as on a development server.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import test from "node:test"
import {inEachBrowser} from "./browser.mjs"
import {npmPhoenix, startPages} from "./pages.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {runSnippet, snippetsOf} from "./snippet.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

async function snippets() {
  const found = snippetsOf(await fs.readFile(new URL("../../README.md", import.meta.url), "utf8"), "phoenix")
  assert.ok(found.length > 0, 'README.md has a fenced js block with: from "phoenix"')
  return found
}

test("README.md: the phoenix.js snippet works", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  for (const [index, code] of (await snippets()).entries()) await runSnippet(scope, `readme-${index + 1}`, code, server.endpoint)
})

const PAGE = `<!doctype html><meta charset="utf-8"><title>another port</title><link rel="icon" href="data:,">
<script type="importmap">{"imports": {"phoenix": "/phoenix.mjs"}}</script>
<script>window.printed = []; console.log = (...words) => printed.push(words.join(" "))</script>
<script type="module" src="/main.js"></script>`

inEachBrowser(browserTest => {
  browserTest("README.md: the phoenix.js snippet works in a page of another port", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const [snippet] = await snippets()
    const code = snippet.replace("localhost:4000", `localhost:${server.port}`)
    assert.notEqual(code, snippet)
    const port = await startPages(scope, {
      "/": ["text/html", PAGE], "/main.js": ["text/javascript", code], "/phoenix.mjs": ["text/javascript", await npmPhoenix()],
    })
    const page = await open(scope)
    await page.goto(`http://localhost:${port}/`)
    const printed = () => page.evaluate(() => window.printed)
    const seen = async () => ({printed: await printed(), server: server.lines})
    await until("it joins and is there", async () => (await printed()).includes("here: ada"), seen)
    await until("it has what it pushed", async () => (await printed()).includes("ada: hello"), seen)
  })
})
