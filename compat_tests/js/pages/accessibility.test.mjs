// axe-core finds nothing on any page, in any state, light and dark, on a wide screen and on a phone.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import {browserTest, openWindow, useBrowser} from "../browser.mjs"
import {createInstance} from "../instances.mjs"
import {startProxy} from "../proxy.mjs"
import {leaveNothingBehind, Scope} from "../scope.mjs"
import {startServer} from "../server.mjs"
import {until} from "../wait.mjs"
import {startYjs} from "../yjs.mjs"

useBrowser()
leaveNothingBehind()

const axe = await fs.readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8")

const WINDOWS = [
  {viewport: {width: 1280, height: 800}},
  {viewport: {width: 390, height: 844}, hasTouch: true},
]

/** Returns the violations that axe finds on the page as it is, a line each. */
async function violations(page) {
  // A colour that fades in would be measured half way. The lamp's animation never ends.
  await page.evaluate(() => Promise.all(document.getAnimations().filter(one => one.effect.getTiming().iterations !== Infinity).map(one => one.finished)))
  if (!await page.evaluate(() => "axe" in window)) await page.evaluate(axe) // not as a script element, which the page's policy forbids
  const {violations} = await page.evaluate(() => window.axe.run(document, {resultTypes: ["violations"]}))
  return violations.flatMap(({id, nodes}) => nodes.map(({target, failureSummary}) => `${id}: ${target.join(" ")}: ${failureSummary.split("\n").slice(1).join(" ")}`))
}

/** Returns a function that checks a page with axe, light and dark. A failure names the state of the page. */
function inspector(page) {
  return async state => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({colorScheme})
      assert.deepEqual(await violations(page), [], `${page.url()}, ${state}, ${colorScheme}`)
    }
  }
}

const textOf = (page, selector) => page.evaluate(selector => document.querySelector(selector)?.textContent ?? "", selector)

const shows = (page, selector, text) => until(`${selector} shows ${text}`, async () => (await textOf(page, selector)).includes(text), () => textOf(page, "body"))

async function say(page, body) {
  await page.fill("#say", body)
  await page.press("#say", "Enter")
}

/** Registers a test of a page for each size of window. */
function inEachWindow(name, run, start = startServer) {
  for (const options of WINDOWS) {
    browserTest(`${name}: no violations, ${options.viewport.width} px`, async t => {
      const scope = new Scope(t)
      const server = await start(scope)
      const page = await openWindow(scope, options)
      await run({scope, server, page, inspect: inspector(page)})
    })
  }
}

inEachWindow("page", async ({scope, server, page, inspect}) => {
  const proxy = await startProxy(scope, server.port)
  await page.goto(`${proxy.http}/#room=lobby&as=Ada`)
  await shows(page, "#state-text", "Connected")
  await inspect("empty")
  const grace = await openWindow(scope)
  await grace.goto(`${server.http}/#room=lobby&as=Grace`)
  await shows(page, "#people-list", "Grace")
  await say(page, "Good morning")
  await say(grace, "Good morning, Ada")
  await shows(page, "#log", "Good morning, Ada")
  await inspect("with messages")
  proxy.refuse()
  proxy.kill()
  await shows(page, "#why", "does not answer")
  await say(page, "from the tunnel")
  await shows(page, "#log .trouble", "Not sent yet")
  await inspect("without a connection")
})

inEachWindow("observer", async ({scope, server, page, inspect}) => {
  for (const id of ["busy", "quiet", "stopped"]) await createInstance(server, {id, type: "relay", labels: {team: "red"}})
  await fetch(`${server.http}/api/instances/stopped/drain`, {method: "POST", headers: await server.headers()})
  const client = await openWindow(scope)
  await client.goto(`${server.http}/#room=lobby&as=Ada`)
  await page.goto(await server.observer())
  await shows(page, "#rows", "busy")
  await shows(page, "#rows", "stopped")
  await shows(page, "#states", "running")
  await inspect("the list")
  await page.click("#rows tr[data-id=default] button")
  await shows(page, "#detail .topics", "room:lobby")
  await shows(page, "#detail .facts-line", "1 client · 1 channel · ")
  await inspect("an instance")
  await page.click("#create")
  await inspect("a new instance")
  await page.fill("#new-id", "busy")
  await page.click("#dialog .primary")
  await until("the form says what is wrong", () => page.evaluate(() => [...document.querySelectorAll("#dialog .wrong")].some(one => one.textContent !== "")))
  await inspect("a form with an error")
})

inEachWindow("observer, without a key", async ({server, page, inspect}) => {
  await page.goto(`${server.http}/observer`)
  await until("it asks for the key", () => page.evaluate(() => !(document.querySelector("#ask-key")?.hidden ?? true)))
  await inspect("asking")
  await page.fill("#key", "mk_wrong")
  await page.press("#key", "Enter")
  await until("it says that the key is wrong", () => page.evaluate(() => !(document.querySelector("#toast")?.hidden ?? true)))
  await inspect("a wrong key")
})

for (const [type, config] of [["chat"], ["game", {rules: "connect4", clock: "5m"}], ["collab"]]) {
  inEachWindow(`example ${type}`, async ({server, page, inspect}) => {
    await page.goto(`${server.http}/examples/${type}`)
    await inspect("without an instance")
    await page.goto(`${server.http}/examples/${type}?instance=nobody#as=Ada`)
    await shows(page, "#guide-why", "There is no instance")
    await inspect("an instance that is not there")
    await createInstance(server, {id: "one", type, config})
    await page.goto(`${server.http}/examples/${type}?instance=one#as=Ada`)
    await shows(page, "#state-text", "Connected")
    await inspect("connected")
    if (type === "chat") {
      await say(page, "Good morning")
      await shows(page, "#log", "Good morning")
    }
    if (type === "game") {
      await page.click("#sit")
      await until("she sits", () => page.evaluate(() => document.querySelector(".seat .name").textContent.includes("Ada")))
    }
    if (type === "collab") {
      await page.fill("#text", "We write.")
      await shows(page, "#saved", "Revision 1")
    }
    await inspect("in use")
  })
}

inEachWindow("examples/yjs", async ({page, server, inspect}) => {
  await page.goto(server.http)
  await shows(page, "#state", "connected")
  await page.fill("#text", "We write.")
  await inspect("in use")
  await page.click("#connect")
  await shows(page, "#state", "disconnected")
  await inspect("disconnected")
}, scope => startYjs(scope))
