// Chromium without playwright, which keeps all its pages awake: tabs that can be suspended.

import {spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import readline from "node:readline"
import {WebSocket} from "ws"
import {executablePath, FLAGS} from "./chromium.mjs"

/** Starts a Chromium until the scope ends; returns a function that opens a tab at an address. */
export async function startTabs(scope) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "chromium-"))
  scope.defer(() => fs.rm(folder, {recursive: true, maxRetries: 10, retryDelay: 100}))
  const child = spawn(executablePath, [...FLAGS, "--headless", "--remote-debugging-port=0", `--user-data-dir=${folder}`, "about:blank"], {stdio: ["ignore", "ignore", "pipe"]})
  const exit = once(child, "exit")
  scope.defer(async () => {
    child.kill()
    await exit
  })
  const socket = new WebSocket(await addressOf(child))
  scope.defer(() => socket.terminate())
  await once(socket, "open")
  const devtools = new DevTools(socket)
  return async address => {
    const {targetId} = await devtools.send("Target.createTarget", {url: address, background: true})
    const {sessionId} = await devtools.send("Target.attachToTarget", {targetId, flatten: true})
    return new Tab(devtools, sessionId)
  }
}

/** Where a Chromium says that its protocol is spoken. */
async function addressOf(child) {
  const lines = readline.createInterface({input: child.stderr})
  for await (const line of lines) {
    const [, address] = /^DevTools listening on (\S+)/.exec(line) ?? []
    if (!address) continue
    child.stderr.resume()
    return address
  }
  throw new Error("Chromium did not say where its protocol is spoken")
}

/** Chromium's protocol on one WebSocket. */
class DevTools {
  constructor(socket) {
    this.socket = socket
    this.id = 0 // of the last call
    this.calls = new Map() // by id
    socket.on("message", data => {
      const {id, result, error} = JSON.parse(data)
      const call = this.calls.get(id)
      this.calls.delete(id)
      if (error) call?.reject(new Error(error.message))
      else call?.resolve(result)
    })
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.id
    return new Promise((resolve, reject) => {
      this.calls.set(id, {resolve, reject})
      this.socket.send(JSON.stringify({id, method, params, sessionId}))
    })
  }
}

class Tab {
  constructor(devtools, sessionId) { Object.assign(this, {devtools, sessionId}) }

  send(method, params) { return this.devtools.send(method, params, this.sessionId) }

  /** The value of an expression. */
  async evaluate(expression) {
    const {result, exceptionDetails} = await this.send("Runtime.evaluate", {expression, returnByValue: true})
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value
  }

  /** Has the user look at this tab, which hides the others. */
  show() { return this.send("Page.bringToFront") }

  /** Suspends the tab, which must be hidden: nothing in it runs until its user comes back to it. */
  suspend() { return this.send("Page.setWebLifecycleState", {state: "frozen"}) }

  async comeBack() {
    await this.send("Page.setWebLifecycleState", {state: "active"})
    await this.show()
  }
}
