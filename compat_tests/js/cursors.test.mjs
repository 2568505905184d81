// examples/cursors, with npm's supabase-js, in two windows of Chromium. With PICTURES=1 it writes docs/pictures/cursors.png.

import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"
import * as esbuild from "esbuild"
import {browserTest, openWindow, useBrowser} from "./browser.mjs"
import {startPages} from "./pages.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

useBrowser()
leaveNothingBehind()

const example = name => fileURLToPath(new URL(`../../examples/cursors/${name}`, import.meta.url))

/** Bundles the example as docs/examples.md says, with the package of this folder. */
async function bundled() {
  const {outputFiles: [{text}]} = await esbuild.build({
    entryPoints: [example("board.js")], bundle: true, format: "esm", write: false, logLevel: "silent",
    nodePaths: [fileURLToPath(new URL("node_modules", import.meta.url))],
  })
  return text
}

browserTest("examples/cursors: two windows see each other and their cursors", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope, "mycelium", {more: ["--dialect", "realtime"]}) // a page of the same host may connect
  const port = await startPages(scope, {
    "/": ["text/html", await fs.readFile(example("index.html"))],
    "/cursors.js": ["text/javascript", await bundled()],
  })
  const pages = {}
  for (const name of ["Ada", "Bob"]) {
    const page = await openWindow(scope, {viewport: {width: 800, height: 520}})
    await page.addInitScript(`history.replaceState(null, "", "?server=${encodeURIComponent(server.http)}&name=${name}")`)
    await page.goto(`http://127.0.0.1:${port}/`)
    pages[name] = page
  }
  const people = page => page.locator("#people li").allTextContents()
  for (const page of Object.values(pages)) await until("both are here", async () => same(await people(page), ["Ada", "Bob"]), () => people(page))
  const {Ada: ada, Bob: bob} = pages
  await ada.mouse.move(200, 200)
  await ada.mouse.move(400, 300, {steps: 5})
  await bob.mouse.move(600, 400, {steps: 5})
  const cursors = page => page.locator(".cursor span").allTextContents()
  await until("bob sees ada's cursor", async () => same(await cursors(bob), ["Ada"]), () => cursors(bob))
  await until("ada sees bob's", async () => same(await cursors(ada), ["Bob"]), () => cursors(ada))
  const left = () => bob.locator(".cursor").evaluate(cursor => parseFloat(cursor.style.left))
  await until("where she has moved it", async () => Math.abs(await left() - 50) < 1, left)
  if (process.env.PICTURES) await bob.screenshot({path: fileURLToPath(new URL("../../docs/pictures/cursors.png", import.meta.url))})
  await ada.goto("about:blank")
  await until("ada has gone", async () => same(await people(bob), ["Bob"]) && same(await cursors(bob), []), () => people(bob))
})
