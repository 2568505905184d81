// Browsers controlled by WebDriver, with the methods of playwright's Browser and Page that the shared tests use.
// https://www.w3.org/TR/webdriver2/ has the commands. firefox.mjs and webkit.mjs differ in how they send them.

import fs from "node:fs/promises"
import {until} from "../wait.mjs"

const ELEMENT = "element-6066-11e4-a52e-4f735466cecf" // WebDriver's name for a reference to an element

const KEYS = {Enter: "\uE007", Escape: "\uE00C", Tab: "\uE004"}

const LATER_MS = 10 // between two polls of a promise of the page

// Runs in the page. A promise stays there and is polled, so that one window never blocks the session for another.
const call = run => `
  const value = (${run})(arguments[0])
  if (typeof value?.then !== "function") return {value}
  const later = window.webdriverLater ??= []
  const one = {}
  value.then(value => { one.value = value; one.done = true }, error => { one.error = String(error?.stack ?? error); one.done = true })
  return {later: later.push(one) - 1}`

const ASK = "return window.webdriverLater?.[arguments[0]] ?? {error: 'the page is gone', done: true}"

/** The session of a browser. `send(name, params)` runs a command; commands are sent one at a time. */
export class WebDriverBrowser {
  constructor(send, shut) {
    this.send = send
    this.shut = shut
    this.first = undefined // the window that the browser has opened; it stays open, and opens others
    this.current = undefined // the window that commands go to
    this.queue = Promise.resolve()
  }

  static async open(send, shut) {
    const browser = new WebDriverBrowser(send, shut)
    browser.first = browser.current = await send("GetWindowHandle", {})
    return browser
  }

  /** Runs steps(send), whose commands go to one window, after those of other windows. */
  inWindow(handle, steps) {
    const turn = this.queue.then(async () => {
      if (this.current !== handle) await this.send("SwitchToWindow", {handle})
      this.current = handle
      return steps(this.send)
    })
    this.queue = turn.catch(() => {})
    return turn
  }

  async newPage({viewport = {width: 1024, height: 768}} = {}) {
    const {handle} = await this.inWindow(this.first, send => send("NewWindow", {type: "window"}))
    const page = new WebDriverPage(this, handle)
    await page.setViewportSize(viewport)
    return page
  }

  async close() {
    await this.queue
    await this.shut()
  }
}

class WebDriverPage {
  constructor(browser, handle) {
    Object.assign(this, {browser, handle, troubles: []}) // WebDriver does not report what a console says
  }

  do(name, params) { return this.browser.inWindow(this.handle, send => send(name, params)) }

  goto(url) { return this.do("Navigate", {url}) }
  reload() { return this.do("Refresh", {}) }
  goBack() { return this.do("Back", {}) }
  title() { return this.evaluate(() => document.title) }
  setViewportSize({width, height}) { return this.do("SetWindowRect", {x: 0, y: 0, width, height}) }

  /** Calls a function in the page; it may return a promise. */
  async evaluate(run, arg) {
    const {value, later} = await this.do("ExecuteScript", {script: call(run), args: [arg ?? null]})
    if (later === undefined) return value
    for (;;) {
      const one = await this.do("ExecuteScript", {script: ASK, args: [later]})
      if (one.error) throw new Error(one.error)
      if (one.done) return one.value
      await new Promise(resolve => setTimeout(resolve, LATER_MS))
    }
  }

  waitForFunction(run, arg) { return until(String(run), () => this.evaluate(run, arg)) }

  exists(selector) {
    return until(`${selector} is there`, () => this.evaluate(selector => document.querySelector(selector) !== null, selector))
  }

  /** Sends a command to the first element that matches. */
  async toElement(selector, name, params = {}) {
    await this.exists(selector)
    return this.browser.inWindow(this.handle, async send => {
      const {[ELEMENT]: id} = await send("FindElement", {using: "css selector", value: selector})
      return send(name, {id, ...params})
    })
  }

  click(selector) { return this.toElement(selector, "ElementClick") }

  press(selector, key) { return this.toElement(selector, "ElementSendKeys", {text: KEYS[key]}) }

  /** Sets a field as playwright does, without keys, which WebKit's driver supports only for the basic multilingual plane. */
  async fill(selector, text) {
    await this.exists(selector)
    await this.evaluate(([selector, text]) => {
      const field = document.querySelector(selector)
      field.focus()
      field.value = text
      for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, {bubbles: true}))
    }, [selector, text])
  }

  async screenshot({path}) {
    await fs.writeFile(path, Buffer.from(await this.do("TakeScreenshot", {full: false}), "base64"))
  }

  close() {
    return this.browser.inWindow(this.handle, async send => {
      await send("CloseWindow", {})
      this.browser.current = undefined
    })
  }
}
