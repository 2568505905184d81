// Headless Firefox, through its Marionette: WebDriver's commands as JSON over TCP. Debian has no geckodriver, which would translate.

import {once} from "node:events"
import fs from "node:fs/promises"
import net from "node:net"
import path from "node:path"
import {until} from "../wait.mjs"
import {findProgram, Program} from "./programs.mjs"
import {WebDriverBrowser} from "./webdriver.mjs"

const START_MS = 60000

const executable = findProgram("FIREFOX_PATH", ["firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"])

// Firefox reaches only this machine: its own requests go to a proxy that does not exist.
const PREFERENCES = {
  "marionette.port": 0, // a free port, named in MarionetteActivePort of the profile
  "network.proxy.type": 1,
  "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9,
  "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9,
  "network.proxy.no_proxies_on": "127.0.0.1, localhost, [::1]",
  "browser.shell.checkDefaultBrowser": false,
  "browser.aboutwelcome.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
}

async function profile(home) {
  const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
  await fs.writeFile(path.join(home, "user.js"), lines.join(""))
  return ["--headless", "--marionette", "--no-remote", "--profile", home]
}

/** Marionette's connection: messages are "LENGTH:JSON", commands [0, id, name, params], answers [1, id, error, result]. */
class Marionette {
  static async connect(port) {
    const socket = net.connect(port, "127.0.0.1")
    await once(socket, "connect")
    const self = Object.assign(new Marionette(), {socket, rest: Buffer.alloc(0), waiting: new Map(), last: 0})
    socket.on("data", data => self.read(data))
    socket.on("close", () => self.fail(new Error("Firefox has closed the connection")))
    socket.on("error", () => {})
    return self
  }

  read(data) {
    this.rest = Buffer.concat([this.rest, data])
    for (let colon = this.rest.indexOf(":"); colon > 0; colon = this.rest.indexOf(":")) {
      const end = colon + 1 + Number(this.rest.subarray(0, colon))
      if (this.rest.length < end) return
      const message = JSON.parse(this.rest.subarray(colon + 1, end))
      this.rest = this.rest.subarray(end)
      if (Array.isArray(message)) this.answered(message) // the greeting is not a list
    }
  }

  answered([, id, error, result]) {
    const {resolve, reject, name} = this.waiting.get(id)
    this.waiting.delete(id)
    if (error) reject(new Error(`${name}: ${error.error}: ${error.message}`))
    else resolve(result)
  }

  fail(error) {
    for (const {reject} of this.waiting.values()) reject(error)
    this.waiting.clear()
  }

  send(name, params) {
    const id = ++this.last
    const text = JSON.stringify([0, id, name, params])
    this.socket.write(`${Buffer.byteLength(text)}:${text}`)
    return new Promise((resolve, reject) => this.waiting.set(id, {resolve, reject, name}))
  }
}

async function launch() {
  const program = await Program.start(executable, profile)
  try {
    const file = path.join(program.home, "MarionetteActivePort")
    const port = await until("Firefox says its port", async () => {
      if (program.ended) throw new Error(`${executable} has ended`)
      return Number(await fs.readFile(file, "utf8").catch(() => ""))
    }, undefined, {patienceMs: START_MS})
    const marionette = await Marionette.connect(port)
    await marionette.send("WebDriver:NewSession", {})
    // Some commands return their value unwrapped.
    const send = async (name, params) => {
      const result = await marionette.send(`WebDriver:${name}`, params)
      return result && "value" in result ? result.value : result
    }
    return await WebDriverBrowser.open(send, async () => {
      marionette.socket.destroy()
      await program.stop()
    })
  } catch (error) {
    await program.stop()
    throw error
  }
}

export const firefox = {
  name: "Firefox", launch,
  missing: executable ? undefined : "no Firefox found: `apt-get install firefox-esr`, or its path in FIREFOX_PATH",
}
