// WebKitGTK's MiniBrowser, through WebKitWebDriver, on a virtual display (Xvfb).

import fs from "node:fs"
import {once} from "node:events"
import {spawn} from "node:child_process"
import {freePort} from "../addresses.mjs"
import {until} from "../wait.mjs"
import {findProgram, Program} from "./programs.mjs"
import {WebDriverBrowser} from "./webdriver.mjs"

const driver = findProgram("WEBKIT_DRIVER_PATH", ["WebKitWebDriver"])
const display = findProgram("XVFB_PATH", ["Xvfb"])

// Debian installs the driver's browser beside the library.
function miniBrowser() {
  const libraries = ["/usr/lib", "/usr/libexec"].filter(folder => fs.existsSync(folder))
  const folders = libraries.flatMap(folder => [folder, ...fs.readdirSync(folder).filter(name => /-linux-gnu/.test(name)).map(name => `${folder}/${name}`)])
  return findProgram("WEBKIT_MINIBROWSER_PATH", folders.flatMap(folder => ["6.0", "4.1", "4.0"].flatMap(version =>
    [`${folder}/webkit2gtk-${version}/MiniBrowser`, `${folder}/webkitgtk-${version}/MiniBrowser`])))
}
const executable = miniBrowser()

const COMMANDS = {
  GetWindowHandle: ["GET", "window"],
  SwitchToWindow: ["POST", "window"],
  NewWindow: ["POST", "window/new"],
  CloseWindow: ["DELETE", "window"],
  SetWindowRect: ["POST", "window/rect"],
  Navigate: ["POST", "url"],
  Refresh: ["POST", "refresh"],
  Back: ["POST", "back"],
  ExecuteScript: ["POST", "execute/sync"],
  FindElement: ["POST", "element"],
  ElementClick: ["POST", ({id}) => `element/${id}/click`],
  ElementClear: ["POST", ({id}) => `element/${id}/clear`],
  ElementSendKeys: ["POST", ({id}) => `element/${id}/value`],
  TakeScreenshot: ["GET", "screenshot"],
}

async function request(method, url, body) {
  const response = await fetch(url, {
    method, headers: {"content-type": "application/json", connection: "close"},
    body: method === "POST" ? JSON.stringify(body) : undefined,
  })
  const {value} = await response.json()
  if (!response.ok) throw new Error(`${method} ${url}: ${value.error}: ${value.message}`)
  return value
}

/** Starts a display, and resolves with its number. */
async function startDisplay() {
  const child = spawn(display, ["-displayfd", "3", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"], {stdio: ["ignore", "ignore", "ignore", "pipe"]})
  let number = ""
  child.stdio[3].on("data", data => { number += data })
  await until("Xvfb says its display", () => number.endsWith("\n") || child.exitCode !== null)
  if (!number) throw new Error(`${display} ended with ${child.exitCode}`)
  return {name: `:${number.trim()}`, stop: async () => {
    const exit = once(child, "exit")
    if (child.exitCode === null && child.kill()) await exit
  }}
}

/** Starts the browser, and retries if another program has taken the port. */
async function launch(tries = 3) {
  try {
    return await launchOnce()
  } catch (error) {
    if (tries === 1) throw error
    return launch(tries - 1)
  }
}

async function launchOnce() {
  const screen = await startDisplay()
  const port = await freePort() // the driver accepts 0, but does not report which port it got
  const program = await Program.start(driver, [`--port=${port}`], {DISPLAY: screen.name, GDK_BACKEND: "x11"})
  const shut = async () => {
    await program.stop()
    await screen.stop()
  }
  try {
    const base = `http://127.0.0.1:${port}/session`
    const options = {binary: executable, args: ["--automation"]}
    const begin = () => request("POST", base, {capabilities: {alwaysMatch: {"webkitgtk:browserOptions": options}}})
    const {sessionId} = await until("WebKitWebDriver answers", () => begin().catch(error => {
      if (error instanceof TypeError && !program.ended) return undefined // it does not listen yet
      throw error
    }))
    const send = (name, params) => {
      const [method, place] = COMMANDS[name]
      return request(method, `${base}/${sessionId}/${typeof place === "function" ? place(params) : place}`, params)
    }
    return await WebDriverBrowser.open(send, async () => {
      await request("DELETE", `${base}/${sessionId}`)
      await shut()
    })
  } catch (error) {
    await shut()
    throw error
  }
}

export const webkit = {
  name: "WebKit",
  launch: () => launch(),
  missing: driver && display && executable ? undefined
    : "no WebKitGTK found: `apt-get install webkit2gtk-driver xvfb`, or the paths in WEBKIT_DRIVER_PATH, WEBKIT_MINIBROWSER_PATH and XVFB_PATH",
}
