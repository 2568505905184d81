// The published npm phoenix, unchanged, in each browser.

import {inEachBrowser} from "./browser.mjs"
import {startFront} from "./front.mjs"
import {scenarios, talk} from "./scenarios.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"

leaveNothingBehind()

const METHODS = ["snapshot", "push", "pushBytes", "leave", "close"]

// Each user has a window and a network of their own.
const opener = (scope, server, path, openWindow) => async ({user, join = {}}) => {
  const front = await startFront(scope, server.port)
  const page = await openWindow(scope)
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

inEachBrowser(browserTest => {
  for (const [name, scenario, , which] of scenarios.filter(([, , , which]) => which)) {
    browserTest(`${which}: ${name}`, async (t, openWindow) => {
      const scope = new Scope(t)
      const server = await startServer(scope, which)
      await scenario({open: opener(scope, server, "/", openWindow)})
    })
  }

  browserTest("mycelium: two users exchange messages, phoenix.min.js as a global", async (t, openWindow) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    await talk({open: opener(scope, server, "/global", openWindow)})
  })
})
