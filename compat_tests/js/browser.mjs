// The browsers that tests run in: Chromium, by playwright, for most tests; and Firefox and WebKit, with the methods of playwright
// that browsers/webdriver.mjs implements, for what may differ between browsers.

import assert from "node:assert/strict"
import test, {after, before, describe} from "node:test"
import {chromium} from "./browsers/chromium.mjs"
import {firefox} from "./browsers/firefox.mjs"
import {webkit} from "./browsers/webkit.mjs"

/** Each has a name, launch(), and missing: the reason why it cannot run here, if there is one. */
export const BROWSERS = [chromium, firefox, webkit]

export const browserNamed = name => BROWSERS.find(one => one.name === name)

/** Reports where clients run in this run of the tests: in Node and Chromium, or where MYCELIUM_PLATFORMS=Firefox,WebKit says. */
const platforms = (process.env.MYCELIUM_PLATFORMS ?? "Node,Chromium").split(",")

for (const name of platforms) {
  if (name !== "Node" && !browserNamed(name)) throw new Error(`MYCELIUM_PLATFORMS: ${name} is not one of Node, ${BROWSERS.map(({name}) => name).join(", ")}`)
}

export const runsOn = platform => platforms.includes(platform)

const PATIENCE_MS = 90000 // for a page; only failing tests wait so long

let browser // Chromium, of a test file

export const launchBrowser = () => chromium.launch()

/** Registers the browser of a test file, which all its tests share. */
export function useBrowser() {
  if (chromium.missing) return
  before(async () => { browser = await launchBrowser() })
  after(() => browser?.close())
}

/** A test that needs a browser. Without one it is skipped with the reason, or fails if CI=true. */
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

/** Opens a window of any browser. In Chromium it has its own cookies and storage. */
export const openPage = async (here, options) => here.newContext ? watched(await here.newPage(options)) : here.newPage(options)

/** Opens a window with its own cookies and storage. `page.troubles` has what went wrong in it. */
export async function openWindow(scope, options = {}) {
  const context = await browser.newContext(options)
  scope.defer(() => context.close())
  return openTab(context)
}

/** Opens another page of the same context. */
export const openTab = async context => watched(await context.newPage())

function watched(page) {
  page.troubles = []
  page.setDefaultTimeout(PATIENCE_MS)
  page.on("pageerror", error => page.troubles.push(String(error)))
  page.on("console", message => {
    // Connections that a test cuts are reported here, as are the page's requests to find out why it has none.
    const wanted = /WebSocket connection|net::ERR_/.test(message.text()) || /\/socket\//.test(message.location().url)
    if (message.type() === "error" && !wanted) page.troubles.push(message.text())
  })
  return page
}
