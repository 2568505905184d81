// The published npm phoenix, unchanged, in headless Chromium.

import assert from "node:assert/strict"
import {browserTest, openWindow, useBrowser} from "./browser.mjs"
import {startFront} from "./front.mjs"
import {scenarios, talk} from "./scenarios.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"

useBrowser()
leaveNothingBehind()

const METHODS = ["snapshot", "push", "pushBytes", "leave", "close"]

// Each user has a browser context and a network of their own.
const opener = (scope, server, path) => async ({user, join = {}}) => {
  const front = await startFront(scope, server.port)
  const page = await openWindow(scope)
  scope.defer(() => assert.deepEqual(page.troubles, []))
  await page.goto(front.http + path)
  await page.waitForFunction(() => window.openClient)
  await page.evaluate(options => window.openClient(options), {
    endpoint: "/socket",
    params: {user_id: user},
    join: {user, meta: {device: `${user}'s`}, ...join},
  })
  const call = method => (...args) => page.evaluate(([method, args]) => window.client[method](...args), [method, args])
  return Object.assign(Object.fromEntries(METHODS.map(method => [method, call(method)])), {user, kill: () => front.kill()})
}

for (const [name, scenario, , which] of scenarios.filter(([, , , which]) => which)) {
  browserTest(`Chromium, ${which}: ${name}`, async t => {
    const scope = new Scope(t)
    const server = await startServer(scope, which)
    await scenario({open: opener(scope, server, "/")})
  })
}

browserTest("Chromium, mycelium: two users exchange messages, phoenix.min.js as a global", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  await talk({open: opener(scope, server, "/global")})
})
