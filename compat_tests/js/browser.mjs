// The browsers that tests run in: Chromium, by playwright, for most; Firefox and WebKit too, with the methods of playwright that
// browsers/webdriver.mjs has, for what browsers could differ in.

import assert from "node:assert/strict"
import test, {after, before, describe} from "node:test"
import {chromium} from "./browsers/chromium.mjs"
import {firefox} from "./browsers/firefox.mjs"
import {webkit} from "./browsers/webkit.mjs"

/** Each has a name, launch(), and in missing why it cannot run here. */
export const BROWSERS = [chromium, firefox, webkit]

export const browserNamed = name => BROWSERS.find(one => one.name === name)

/** Where clients run in this run of the tests: in Node and Chromium, or where MYCELIUM_PLATFORMS=Firefox,WebKit says. */
const platforms = (process.env.MYCELIUM_PLATFORMS ?? "Node,Chromium").split(",")

for (const name of platforms) {
  if (name !== "Node" && !browserNamed(name)) throw new Error(`MYCELIUM_PLATFORMS: ${name} is not one of Node, ${BROWSERS.map(({name}) => name).join(", ")}`)
}

export const runsOn = platform => platforms.includes(platform)

let browser // Chromium, of a test file

export const launchBrowser = () => chromium.launch()

/** Registers the browser of a test file: one for all its tests. */
export function useBrowser() {
  if (chromium.missing) return
  before(async () => { browser = await launchBrowser() })
  after(() => browser?.close())
}

/** A test that needs a browser: without it it is skipped with the reason, and fails where CI=true. */
function testIn({missing}, name, run) {
  if (!missing) return test(name, run)
  if (process.env.CI === "true") return test(name, () => { throw new Error(missing) })
  return test(name, {skip: missing}, () => {})
}

/** A test that needs Chromium. */
export const browserTest = (name, run) => testIn(chromium, name, run)

/**
 * Registers tests for each of the browsers of this run: register(testHere) calls testHere(name, run) for each test, and run gets t and
 * open(scope, options), which opens a window.
 */
export function inEachBrowser(register) {
  for (const kind of BROWSERS.filter(({name}) => runsOn(name))) {
    describe(kind.name, () => {
      let here
      if (!kind.missing) {
        before(async () => { here = await kind.launch() })
        after(() => here?.close())
      }
      const open = async (scope, options) => {
        const page = await openPage(here, options)
        scope.defer(() => page.close())
        scope.defer(() => assert.deepEqual(page.troubles, []))
        return page
      }
      register((name, run) => testIn(kind, `${kind.name}: ${name}`, t => run(t, open)), kind)
    })
  }
}

/** A window of any browser. In Chromium it has cookies and storage of its own. */
export const openPage = async (here, options) => here.newContext ? watched(await here.newPage(options)) : here.newPage(options)

/** A window with cookies and storage of its own. `page.troubles` has what went wrong in it. */
export async function openWindow(scope, options = {}) {
  const context = await browser.newContext(options)
  scope.defer(() => context.close())
  return openTab(context)
}

/** Another page of the same context. */
export const openTab = async context => watched(await context.newPage())

function watched(page) {
  page.troubles = []
  page.on("pageerror", error => page.troubles.push(String(error)))
  page.on("console", message => {
    // A connection that a test cuts is reported here, and a page's question why it has none; that is what the test wants.
    const wanted = /WebSocket connection|net::ERR_/.test(message.text()) || /\/socket\//.test(message.location().url)
    if (message.type() === "error" && !wanted) page.troubles.push(message.text())
  })
  return page
}
