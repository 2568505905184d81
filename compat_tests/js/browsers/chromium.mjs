// The machine's own Chromium, headless: playwright-core has no browser and must not download one.

import {chromium as playwright} from "playwright-core"
import {findProgram} from "./programs.mjs"

export const FLAGS = [
  "--no-sandbox", // CI runs as root
  "--disable-gpu", "--disable-quic", "--no-first-run",
  // Chromium's own requests to the internet, which no test needs.
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
]

const START_MS = 90000 // on a busy machine

export const executablePath = findProgram("CHROMIUM_PATH", [
  "/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
])

export const chromium = {
  name: "Chromium",
  launch: () => playwright.launch({executablePath, headless: true, args: FLAGS, timeout: START_MS}),
  missing: executablePath ? undefined : "no Chromium found: `apt-get install chromium` (or Google Chrome), or its path in CHROMIUM_PATH",
}
