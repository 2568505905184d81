// Headless Chromium, the machine's own: playwright-core brings no browser and must not fetch one.

import fs from "node:fs"
import path from "node:path"
import test, {after, before} from "node:test"
import {chromium} from "playwright-core"

const FLAGS = [
  "--no-sandbox", // CI runs as root
  "--disable-gpu", "--disable-quic", "--no-first-run",
  // Chromium's own requests to the outside: refused on a closed network, and no part of any test.
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
]

const inPath = name => (process.env.PATH ?? "").split(path.delimiter).map(folder => path.join(folder, name))

const candidates = () => process.env.CHROMIUM_PATH ? [process.env.CHROMIUM_PATH] : [
  "/usr/bin/chromium",
  ...["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].flatMap(inPath),
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
]

const executablePath = candidates().find(file => fs.existsSync(file))

/** Why there are no tests in a browser. */
export const MISSING = "no Chromium found: `apt-get install chromium` (or Google Chrome), or its path in CHROMIUM_PATH"

let browser

export const hasBrowser = executablePath !== undefined

export const launchBrowser = () => chromium.launch({executablePath, headless: true, args: FLAGS})

/** Registers the browser of a test file: one for all its tests. */
export function useBrowser() {
  if (!executablePath) return
  before(async () => { browser = await launchBrowser() })
  after(() => browser?.close())
}

/** A test that needs Chromium: without one it is skipped with the reason, and fails where CI=true. */
export function browserTest(name, run) {
  if (executablePath) return test(name, run)
  if (process.env.CI === "true") return test(name, () => { throw new Error(MISSING) })
  return test(name, {skip: MISSING}, () => {})
}

/** A window with cookies and storage of its own. `page.troubles` has what went wrong in it. */
export async function openWindow(scope, options = {}) {
  const context = await browser.newContext(options)
  scope.defer(() => context.close())
  return openTab(context)
}

/** Another page of the same context. */
export async function openTab(context) {
  const page = await context.newPage()
  page.troubles = []
  page.on("pageerror", error => page.troubles.push(String(error)))
  page.on("console", message => {
    // A connection that a test cuts is reported here, and a page's question why it has none; that is what the test wants.
    const wanted = /WebSocket connection|net::ERR_/.test(message.text()) || /\/socket\//.test(message.location().url)
    if (message.type() === "error" && !wanted) page.troubles.push(message.text())
  })
  return page
}
