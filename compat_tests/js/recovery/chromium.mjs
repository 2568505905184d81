// phoenix.js in Chromium, as a process.

import fs from "node:fs/promises"
import {chromium} from "../browsers/chromium.mjs"
import {npmPhoenix, startPages} from "../pages.mjs"

const {RECOVERY_URL, RECOVERY_TOPIC, RECOVERY_WAY, RECOVERY_SESSION} = process.env
const riding = {url: `${RECOVERY_URL}/socket`, topic: RECOVERY_TOPIC, way: RECOVERY_WAY, session: RECOVERY_SESSION}

const whole = {defer() {}} // the process is killed
const port = await startPages(whole, {
  "/phoenix.mjs": ["text/javascript", await npmPhoenix()],
  "/rider.mjs": ["text/javascript", await fs.readFile(new URL("rider.mjs", import.meta.url))],
  "/": ["text/html", `<!doctype html><script type="module">
    import * as phoenix from "/phoenix.mjs"
    import {ride} from "/rider.mjs"
    const again = () => 20
    const options = {reconnectAfterMs: again, rejoinAfterMs: again, heartbeatIntervalMs: 1000, timeout: 3000}
    ride(phoenix, {options, ...${JSON.stringify(riding)}}, line => console.log(line))
  </script>`],
})
const browser = await chromium.launch()
const page = await browser.newPage()
page.on("console", message => (message.type() === "log" ? process.stdout : process.stderr).write(`${message.text()}\n`))
await page.goto(`http://127.0.0.1:${port}/`)
