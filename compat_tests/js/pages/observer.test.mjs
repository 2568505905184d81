// The observer at "/observer" under load: what it shows, and what it does to instances.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import http from "node:http"
import os from "node:os"
import path from "node:path"
import {fileURLToPath} from "node:url"
import {freePort} from "../addresses.mjs"
import {browserTest, openWindow, useBrowser} from "../browser.mjs"
import {createInstance as create} from "../instances.mjs"
import {leaveNothingBehind, Scope} from "../scope.mjs"
import {startServer} from "../server.mjs"
import {until} from "../wait.mjs"
import {Socket} from "phoenix"
import {WebSocket} from "ws"

useBrowser()
leaveNothingBehind()

const screenshot = name => fileURLToPath(new URL(`../artifacts/${name}.png`, import.meta.url))

const rows = page => page.evaluate(() => [...document.querySelectorAll("#rows tr")].map(tr => [...tr.children].map(cell => cell.textContent)))

const row = (page, id, check, what) => until(`the row of ${id} ${what}`, async () => {
  const one = (await rows(page)).find(cells => cells[0] === id)
  return one && check(one)
}, () => rows(page))

/** Keeps a topic of an instance busy until the scope ends. */
async function load(scope, instance, clients) {
  const sockets = []
  for (let i = 0; i < clients; i++) {
    const socket = new Socket(instance.socket_url, {transport: WebSocket, params: {user: `user-${i}`, session: `the session of user-${i}`}})
    socket.connect()
    const channel = socket.channel("room:lobby", {history: {last: 5}})
    await new Promise((resolve, reject) => channel.join().receive("ok", resolve).receive("error", reject))
    sockets.push({socket, channel})
  }
  const timer = setInterval(() => { for (const {channel} of sockets) channel.push("tick", {at: 1}) }, 100)
  scope.defer(async () => {
    clearInterval(timer)
    await Promise.all(sockets.map(({socket}) => new Promise(resolve => socket.disconnect(resolve))))
  })
}

browserTest("observer: instances live, and what can be done to them", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const busy = await create(server, {id: "busy", type: "relay", labels: {team: "red"}, history: [{topics: ["room:*"]}]})
  for (let i = 0; i < 8; i++) await create(server, {id: `quiet-${i}`, type: "relay"})
  await create(server, {id: "x".repeat(64), type: "game", config: {rules: "snake"}})
  await load(scope, busy, 12)

  const page = await openWindow(scope, {viewport: {width: 1280, height: 860}})
  await page.goto(await server.observer())
  assert.equal(await page.isVisible("#cluster"), false, "a single node has no cluster to show")
  await row(page, "busy", cells => cells[3] === "12" && Number(cells[5].replace(/[^0-9.]/g, "")) > 0, "shows its clients and traffic")
  assert.equal((await rows(page))[0][0], "busy", "the busiest stands first")

  await page.fill("#find", "quiet-3")
  await until("the filter holds", async () => (await rows(page)).length === 1)
  await page.fill("#find", "")

  await page.click("#rows tr[data-id=busy] button")
  await until("the topic is listed", async () => /room:lobby\s*12/.test(await page.textContent("#detail .topics")), () => page.textContent("#detail"))
  await until("the clients are listed", async () => /^12 × no id websocket · room:lobby$/.test(await page.textContent("#detail .sockets")), () => page.textContent("#detail .sockets"))
  assert.ok(await page.evaluate(() => document.querySelector(".list table").scrollWidth <= document.querySelector(".list").clientWidth), "no column is cut off beside the details")
  await until("what is recorded is shown", async () => /^\d[\d.k]* messages, 1 topic$/.test(await page.textContent("#recorded-now")), () => page.textContent("#recorded"))
  assert.match(await page.textContent("#recorded-facts"), /Sessions\s*12, 0 kept/)
  await until("also that of the instance", async () => /messages recorded, .*12 replays, 0 not recovered$/.test(await page.textContent("#detail .facts-line")), () => page.textContent("#detail .facts-line"))
  await until("the chart moves", () => page.evaluate(() => document.querySelectorAll("#detail .chart path.line").length === 3 && /now out [1-9]/.test(document.querySelector("#detail .chart").getAttribute("aria-label"))))
  await page.screenshot({path: screenshot("observer")})
  t.diagnostic(`screenshot: ${screenshot("observer")}`)

  await page.click("#create")
  await page.fill("#new-id", "made-here")
  await page.selectOption("#new-type", "relay")
  await page.fill("#dialog [data-name=topics]", "\"room:*\"")
  await page.click("#dialog .primary")
  await until("the error stands at its field", async () => (await page.textContent("#dialog [data-field='/config/topics'] .wrong")).length > 0)
  await page.screenshot({path: screenshot("observer-form")})
  await page.fill("#dialog [data-name=topics]", "[\"room:*\"]")
  await page.click("#dialog .primary")
  await row(page, "made-here", cells => cells[2] === "running", "is there")

  await page.click("#detail footer button:text-is('Drain')")
  await row(page, "made-here", cells => cells[2] === "stopped", "is stopped")
  page.once("dialog", dialog => dialog.accept())
  await page.click("#detail footer button:text-is('Delete')")
  await until("it is gone", async () => !(await rows(page)).some(cells => cells[0] === "made-here"))

  await page.setViewportSize({width: 390, height: 844})
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "fits a phone")
  await page.screenshot({path: screenshot("observer-phone")})
  // The browser logs refused requests: the one that the form is meant to cause, and those to an instance that has just stopped.
  assert.deepEqual(page.troubles.filter(trouble => !/status of (422|409|404)/.test(trouble)), [])
})

/** A back end that takes events, and refuses every third decision. */
async function startBackEnd(scope) {
  const state = {fails: false, asked: 0}
  const server = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    if (state.fails) return response.writeHead(500).end("the database is gone")
    const {type} = JSON.parse(Buffer.concat(chunks))
    response.setHeader("content-type", "application/json").end(JSON.stringify(type === undefined ? {} : {allow: state.asked++ % 3 !== 2}))
  })
  scope.defer(() => new Promise(resolve => { server.close(resolve); server.closeAllConnections() }))
  await new Promise(resolve => server.listen(0, "127.0.0.1", resolve))
  return Object.assign(state, {url: `http://127.0.0.1:${server.address().port}/`})
}

browserTest("observer: what back ends decide and are told, and that one is away", async t => {
  const scope = new Scope(t)
  const backEnd = await startBackEnd(scope)
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "observer-hooks-"))
  scope.defer(() => fs.rm(dir, {recursive: true}))
  const file = path.join(dir, "mycelium.yaml")
  const hook = more => ({url: backEnd.url, secret: Buffer.alloc(32, 7).toString("base64"), timeout: "9s", ...more})
  await fs.writeFile(file, JSON.stringify({hooks: [hook({name: "moderation", on: ["event"], while_away: "allow"}), hook({name: "archive", on: ["published", "joined"]})]}))
  const server = await startServer(scope, "mycelium", {more: ["--config", file]})
  await load(scope, {socket_url: server.endpoint}, 2)

  const page = await openWindow(scope, {viewport: {width: 1280, height: 860}})
  await page.goto(await server.observer())
  const hooks = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("#hook-rows tr")].map(tr => [tr.dataset.hook, [...tr.children].map(cell => cell.textContent)])))
  const seen = (what, check) => until(what, async () => check(await hooks()), hooks)
  await seen("both are up, with what they do", ({moderation: m, archive: a}) =>
    m?.[2] === "up" && Number(m[3]) > 0 && Number(m[4]) > 0 && m[5] === "0" && / ms$/.test(m[6]) && m[8] === "–" &&
    a?.[2] === "up" && a[3] === "–" && Number(a[8]) > 0 && a[10] === "0")
  assert.equal(await page.isVisible("#hooks-trouble"), false)
  assert.ok(await page.evaluate(() => document.querySelector("#hooks table").scrollWidth <= document.querySelector("#hooks").clientWidth), "no column is cut off")
  await page.screenshot({path: screenshot("observer-hooks")})
  t.diagnostic(`screenshot: ${screenshot("observer-hooks")}`)

  backEnd.fails = true
  await seen("one is away and decides nothing, the other fails", ({moderation: m, archive: a}) =>
    m[2] === "away" && Number(m[5]) > 0 && a[2] === "failing" && / (ms|s)$/.test(a[9]))
  await until("it is said above", async () => await page.textContent("#hooks-trouble") === "1 back end is away", () => page.textContent("#hooks-trouble"))
  await page.emulateMedia({colorScheme: "dark"})
  await page.setViewportSize({width: 390, height: 844})
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "fits a phone")
  assert.ok(await page.evaluate(() => document.querySelector("#hooks table").scrollWidth <= document.querySelector("#hooks").clientWidth), "no column is cut off on a phone")
  await page.screenshot({path: screenshot("observer-hooks-phone"), fullPage: true})
  assert.deepEqual(page.troubles, [])
})

browserTest("observer: the link of the terminal, no key, a wrong one, and one that is no longer valid", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const page = await openWindow(scope, {viewport: {width: 1280, height: 860}})
  const state = () => page.textContent("#state-text")
  await page.goto(`${server.http}/`)
  await page.click("a[href='observer']")
  await until("the page asks for a key", () => page.isVisible("#ask-key"))
  assert.match(await page.textContent("#ask-key"), /mycelium key show/)
  assert.equal(await state(), "Not connected")
  assert.equal(await page.isVisible("#create"), false)
  await page.screenshot({path: screenshot("observer-key")})
  t.diagnostic(`screenshot: ${screenshot("observer-key")}`)
  assert.deepEqual(page.troubles, [], "without a key nothing is asked")

  await page.fill("#key", "mk_WRONG")
  await page.press("#key", "Enter")
  await until("it says that the key is wrong", async () => /does not know this API key/.test(await page.textContent("#toast")))
  await page.fill("#key", await server.key())
  await page.press("#key", "Enter")
  await until("it is connected with the right one", async () => await state() === "Live")

  const other = await openWindow(scope)
  await other.goto(await server.observer())
  await until("the link opens it", async () => await other.textContent("#state-text") === "Live")
  await until("the key is out of the address", () => other.url() === `${server.http}/observer`, () => other.url())
  await other.reload()
  await until("the tab has kept the key", async () => await other.textContent("#state-text") === "Live")
  assert.deepEqual(other.troubles, [])

  await server.stop()
  const again = await startServer(scope, "mycelium", {more: ["--listen", server.address]})
  await until("a server that was started again has another key", () => page.isVisible("#ask-key"), state)
  await until("it says why", async () => /does not know this API key/.test(await page.textContent("#toast")))
  await page.evaluate(link => { location.href = link }, await again.observer())
  await until("its link opens the page again", async () => await state() === "Live", state)
})

/** Starts a node of a cluster, which reaches the first one at port; the first one listens there. */
function startNode(scope, name, secret, port, first) {
  const listen = first ? ["--cluster-listen", `127.0.0.1:${port}`] : ["--cluster-listen", "127.0.0.1:0", "--cluster-routes", `nats://127.0.0.1:${port}`]
  return startServer(scope, "mycelium", {more: ["--cluster-name", "demo", "--cluster-node", name, "--cluster-secret-file", secret, ...listen]})
}

/** Resolves with a function that hides a node from the page from then on. */
async function forgetting(page, name) {
  let forgotten = false
  await page.routeWebSocket(/\/observer\/socket\//, client => {
    const server = client.connectToServer()
    server.onMessage(text => {
      const message = JSON.parse(text)
      const sample = message[3] === "sample" ? message[4] : {}
      if (forgotten && sample.cluster) sample.cluster.nodes = sample.cluster.nodes.filter(node => node.name !== name)
      client.send(JSON.stringify(message))
    })
  })
  return () => { forgotten = true }
}

// It takes 8 s: a killed node is silent for 6 s before the others consider it down.
browserTest("observer: the nodes of a cluster, what flows between them, and one that is killed", async t => {
  const scope = new Scope(t)
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "cluster-"))
  scope.defer(() => fs.rm(dir, {recursive: true}))
  const secret = path.join(dir, "secret")
  await fs.writeFile(secret, "s".repeat(32), {mode: 0o600})
  const port = await freePort()
  const [a, b] = await Promise.all([startNode(scope, "a", secret, port, true), startNode(scope, "b", secret, port)])
  await load(scope, {socket_url: a.endpoint}, 2)
  const onB = new Scope(t)
  await load(onB, {socket_url: b.endpoint}, 3)

  const page = await openWindow(scope, {viewport: {width: 1280, height: 860}})
  const forget = await forgetting(page, "b")
  await page.goto(await a.observer())
  const nodes = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("#nodes tr")].map(tr => [tr.dataset.node, [...tr.children].map(cell => cell.textContent)])))
  const seen = (what, check, options) => until(what, async () => check(await nodes()), nodes, options)
  const moving = () => page.evaluate(() => [...document.querySelectorAll("#nodes-picture .flow.moving")].map(p => p.classList[1]).sort().join())
  await seen("both are up, with their clients and what they send", ({a, b}) =>
    a?.[1] === "up" && a[3] === "3" /* with this page */ && Number(a[4]) > 0 && b?.[1] === "up" && b[3] === "3" && Number(b[4]) > 0 && b[6] === "0")
  await until("it flows both ways", async () => await moving() === "in,out", moving)
  assert.match(await page.getAttribute("#nodes-picture", "aria-label"), /^a sends [\d.]+ entries a second; b sends [\d.]+$/)
  assert.equal(await page.textContent("#cluster-title"), "Cluster demo 2 nodes")
  assert.equal(await page.isVisible("#cluster-trouble"), false)
  await page.screenshot({path: screenshot("observer-cluster")})
  t.diagnostic(`screenshot: ${screenshot("observer-cluster")}`)
  await page.emulateMedia({colorScheme: "dark"})
  await page.setViewportSize({width: 390, height: 844})
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "fits a phone")
  assert.ok(await page.evaluate(() => document.querySelector(".nodes table").scrollWidth <= document.querySelector(".nodes").clientWidth), "no column is cut off on a phone")
  await page.screenshot({path: screenshot("observer-cluster-phone"), fullPage: true})
  await page.setViewportSize({width: 1280, height: 860})

  await onB.close()
  await b.kill()
  await seen("the killed one is silent", ({b}) => b?.[1] === "silent", {patienceMs: 60000})
  assert.equal(await moving(), "", "nothing flows to or from it")
  assert.match(await page.getAttribute("#nodes-picture", "aria-label"), /; b is silent$/)
  await page.screenshot({path: screenshot("observer-cluster-silent")})
  forget() // as a does after another minute
  await seen("it is gone", ({a, b}) => a?.[1] === "up" && !b)
  assert.match(await page.getAttribute("#nodes-picture", "aria-label"), /; there is no other node$/)
  assert.deepEqual(page.troubles, [])
})
