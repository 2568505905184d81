// Runs a client in a process of its own, because the globals that an old client needs must not affect another. It runs many
// behaviours at once, and reports {behaviour, mark, error} of each to the parent.

import assert from "node:assert/strict"
import {createRequire} from "node:module"
import {WebSocket} from "ws"
import {browserNamed, openPage} from "../browser.mjs"
import {startFront} from "../front.mjs"
import {Scope} from "../scope.mjs"
import {BEHAVIOURS} from "./behaviours.mjs"
import {CLIENTS} from "./clients.mjs"
import {installBrowserGlobals} from "./globals.mjs"
import {Lab, polls, startLab} from "./lab.mjs"
import {RealtimeUser} from "./realtime.mjs"
import {User} from "./user.mjs"

const AT_ONCE = {node: 12, browser: 5} // a browser's steps cost more

const BROWSER_POLL_MS = 100

const require = createRequire(import.meta.url)

/** A scope that this process closes itself, because it does not run node:test. */
function openScope() {
  let close
  const scope = new Scope({after: closer => { close = closer }})
  return {scope, close: () => close()}
}

/** Returns `openUser(options)` of the client for a lab. */
async function opener(client, scope, server) {
  if (client.browser) return inBrowser(client.browser, scope, server)
  if (client.window) installBrowserGlobals()
  // ES modules if the package has them, as an application would get.
  const found = await import(client.package)
  const module = found.Socket || found.RealtimeClient ? found : require(client.package)
  if (client.package.startsWith("@supabase")) {
    return () => options => new RealtimeUser(module, WebSocket, {...client.options, ...options})
  }
  const transport = client.ownWebSocket ? {} : {transport: WebSocket}
  return () => options => new User(module, {...transport, ...options})
}

const METHODS = ["join", "push", "pushBytes", "send", "sendBytes", "leave", "snapshot", "close"]

/** Opens a tab for each behaviour, with all its users. Pages and server have different origins, which also tests the server's CORS. */
async function inBrowser(name, scope, server) {
  const browser = await browserNamed(name).launch()
  scope.defer(() => browser.close())
  const front = await startFront(scope, server.port)
  return lab => {
    let opening
    let users = 0
    const open = async () => {
      const page = await openPage(browser)
      lab.scope.defer(() => page.close())
      lab.scope.defer(() => assert.deepEqual(page.troubles, []))
      await page.goto(`${front.http}/matrix`)
      await page.waitForFunction(() => window.openUser)
      return page
    }
    return async options => {
      const page = await (opening ??= open())
      const id = users++
      await page.evaluate(([id, options]) => window.openUser(id, options), [id, options])
      const call = method => (...args) => page.evaluate(([id, method, args]) => window.users[id][method](...args), [id, method, args])
      return {...Object.fromEntries(METHODS.map(method => [method, call(method)])), pollMs: BROWSER_POLL_MS}
    }
  }
}

async function run(client, behaviour, number, server, open) {
  const {scope, close} = openScope()
  try {
    const lab = new Lab(scope, server, number, client.offers)
    lab.openUser = open(lab)
    await client.behaviours[behaviour.name](lab)
  } finally {
    await close()
  }
}

/** The mark of a behaviour that is not run. */
function markOf(client, behaviour, polling) {
  if (!client.behaviours[behaviour.name] || (behaviour.needs && !client.offers.includes(behaviour.needs))) return "–"
  return behaviour.polls && !polling ? "skipped" : undefined
}

const tell = message => new Promise(resolve => process.send(message, resolve))

async function main() {
  const client = CLIENTS.find(({name}) => name === process.argv[2])
  const {scope, close} = openScope()
  const server = await startLab(scope)
  const open = await opener(client, scope, server)
  const polling = await polls(server)
  const left = [...BEHAVIOURS.entries()]
  const next = async () => {
    for (let one = left.shift(); one; one = left.shift()) {
      const [number, behaviour] = one
      const mark = markOf(client, behaviour, polling)
      let error
      try {
        if (!mark) await run(client, behaviour, number, server, open)
      } catch (failure) {
        error = failure.stack ?? String(failure)
      }
      await tell({behaviour: behaviour.name, mark: error ? "FAIL" : mark ?? "ok", error})
    }
  }
  await Promise.all(Array.from({length: AT_ONCE[client.browser ? "browser" : "node"]}, next))
  await close()
}

await main()
// Old clients leave timers that never end.
process.disconnect()
process.exit(0)
