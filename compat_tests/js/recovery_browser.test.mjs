// What the tabs of a browser missed, while Chromium's own protocol had switched their network off, or suspended them.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"
import {browserTest, openTab, openWindow, useBrowser} from "./browser.mjs"
import {startTabs} from "./browsers/tabs.mjs"
import {createInstance} from "./instances.mjs"
import {npmPhoenix, startPages} from "./pages.mjs"
import {startProxy} from "./proxy.mjs"
import {ServerTrial} from "./recovery/trial.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

useBrowser()
leaveNothingBehind()

const PATIENCE_MS = 60_000

/** until, for a machine that may be busy. */
const eventually = (what, check, seen) => until(what, check, seen, {patienceMs: PATIENCE_MS})

/** The address of pages of phoenix.js that keep what they are sent in window.lines. */
async function serveRiders(scope) {
  const port = await startPages(scope, {
    "/phoenix.mjs": ["text/javascript", await npmPhoenix()],
    "/rider.mjs": ["text/javascript", await fs.readFile(new URL("recovery/rider.mjs", import.meta.url))],
    "/": ["text/html", `<!doctype html><link rel=icon href=data:><script type="module">
      import * as phoenix from "/phoenix.mjs"
      import {ride} from "/rider.mjs"
      window.lines = []
      const options = {reconnectAfterMs: () => 20, rejoinAfterMs: () => 20, heartbeatIntervalMs: 1000, timeout: 3000}
      ride(phoenix, {options, ...JSON.parse(decodeURIComponent(location.hash.slice(1)))}, line => window.lines.push(line))
    </script>`],
  })
  return `http://127.0.0.1:${port}/`
}

/** A tab that rides by a way, behind a network of its own. open(address) resolves with the tab and what reads its lines. */
async function openRider(scope, way, pages, port, open) {
  const proxy = await startProxy(scope, port)
  const riding = {url: proxy.endpoint, topic: "room:1", way, session: crypto.randomUUID()}
  const {tab, lines} = await open(`${pages}#${encodeURIComponent(JSON.stringify(riding))}`)
  const numbers = async () => (await lines()).filter(line => line.startsWith("n ")).map(line => Number(line.slice(2)))
  await eventually(`${way}: it is there`, async () => (await numbers()).length > 0 && (way !== "after" || (await lines()).includes("mark")), lines)
  return {tab, proxy, way, lines, numbers}
}

/** Waits until a tab has a number, and checks that none before it is missing, out of order, or said to be lost. */
async function hasAll({way, lines, numbers}, last) {
  await eventually(`${way}: it has ${last}`, async () => (await numbers()).includes(last), lines)
  assert.deepEqual((await lines()).filter(line => line.startsWith("state") && !line.includes('"recovered":true')), [], way)
  const got = [...new Set(await numbers())]
  assert.deepEqual(got, Array.from(got, (_, i) => got[0] + i), `${way}: each number, in order`)
}

/** Waits until so many more numbers are published. */
const publishes = (publisher, more, target = publisher.sent + more) => eventually(`${more} more numbers`, () => publisher.sent >= target)

browserTest("two tabs whose network is switched off and on", async t => {
  const scope = new Scope(t)
  const trial = await ServerTrial.start(scope)
  const publisher = trial.publishers["room:1"]
  const context = (await openWindow(scope)).context()
  const pages = await serveRiders(scope)
  const openIn = way => openRider(scope, way, pages, trial.publishing.port, async address => {
    const page = await openTab(context)
    await page.goto(address)
    return {tab: await context.newCDPSession(page), lines: () => page.evaluate(() => window.lines)}
  })
  const riders = [await openIn("after"), await openIn("session")]
  const network = offline => Promise.all(riders.map(({tab}) =>
    tab.send("Network.emulateNetworkConditions", {offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1})))
  for (let round = 0; round < 3; round++) {
    const connections = riders.map(({proxy}) => proxy.accepted)
    await network(true)
    if (round > 0) for (const {proxy} of riders) proxy.kill() // without that, what an open WebSocket is sent waits, as if it was half-open
    await publishes(publisher, 100)
    assert.deepEqual(riders.map(({proxy}) => proxy.accepted), connections, "nothing gets through")
    await network(false)
    const last = publisher.sent
    for (const rider of riders) await hasAll(rider, last)
  }
})

browserTest("two tabs, one of which is suspended", async t => {
  const scope = new Scope(t)
  const trial = await ServerTrial.start(scope)
  const publisher = trial.publishers["room:1"]
  const open = await startTabs(scope)
  const pages = await serveRiders(scope)
  const openIn = way => openRider(scope, way, pages, trial.publishing.port, async address => {
    const tab = await open(address)
    return {tab, lines: () => tab.evaluate("window.lines ?? []")}
  })
  const [asleep, awake] = [await openIn("after"), await openIn("session")]
  for (let round = 0; round < 3; round++) {
    await awake.tab.show()
    await asleep.tab.suspend()
    const before = (await asleep.numbers()).length
    await publishes(publisher, 50)
    if (round > 0) asleep.proxy.kill() // as a server does that gets no heartbeats, or a network that is gone
    await publishes(publisher, 50)
    const last = publisher.sent
    await hasAll(awake, last)
    assert.equal((await asleep.numbers()).length, before, "it is suspended")
    await asleep.tab.comeBack() // Chromium has closed its WebSocket, and phoenix.js does not connect a hidden page
    await hasAll(asleep, last)
  }
})

browserTest("a chat whose network was switched off shows what came meanwhile", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  await createInstance(server, {id: "tunnel", type: "chat"})
  const visit = async (name, port) => {
    const page = await openWindow(scope, {viewport: {width: 900, height: 640}})
    await page.goto(`http://127.0.0.1:${port}/examples/chat?instance=tunnel#as=${name}`)
    await until(`${name} is connected`, async () => await page.locator("#state-text").textContent() === "Connected")
    return page
  }
  const proxy = await startProxy(scope, server.port)
  const ada = await visit("Ada", server.port)
  const kim = await visit("Kim", proxy.port)
  const bodies = page => page.locator("#log .body").allTextContents()
  const say = async (page, body) => {
    await page.fill("#say", body)
    await page.press("#say", "Enter")
  }
  await say(ada, "The train leaves at ten past nine.")
  await until("Kim has it", async () => (await bodies(kim)).length === 1)

  await kim.context().setOffline(true)
  proxy.kill()
  await until("Kim's page knows", async () => await kim.locator("#state-text").textContent() !== "Connected")
  const meanwhile = ["Platform four, not seven.", "Bring the blue folder, please.", "Are you in the tunnel?"]
  for (const body of meanwhile) await say(ada, body)
  await until("Ada has them", async () => (await bodies(ada)).length === 4)
  assert.equal((await bodies(kim)).length, 1)
  await kim.context().setOffline(false)
  await eventually("Kim has them", async () => (await bodies(kim)).length === 4, () => bodies(kim))
  assert.deepEqual((await bodies(kim)).slice(1), meanwhile)
  assert.equal((await kim.locator("#log .notice").allTextContents()).at(-1), "3 messages came while you were away")
  await until("nothing moves", () => kim.evaluate(() => document.getAnimations().length === 0))
  const picture = fileURLToPath(new URL("artifacts/chat-offline.png", import.meta.url))
  await kim.screenshot({path: picture})
  t.diagnostic(`screenshot: ${picture}`)
})
