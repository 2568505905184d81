// The page at "/", in two windows of headless Chromium.

import assert from "node:assert/strict"
import {fileURLToPath} from "node:url"
import {browserTest, openTab, openWindow, useBrowser} from "./browser.mjs"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {runSnippet} from "./snippet.mjs"
import {until} from "./wait.mjs"

useBrowser()
leaveNothingBehind()

const screenshot = fileURLToPath(new URL("artifacts/page.png", import.meta.url))

const look = page => page.evaluate(() => ({
  state: document.querySelector("#state-text").textContent,
  people: [...document.querySelectorAll("#people-list .person")].map(row => row.querySelector(".name").textContent),
  badges: [...document.querySelectorAll("#people-list .tabs:not([hidden])")].map(badge => badge.firstChild.textContent),
  messages: [...document.querySelectorAll("#log .message")].map(node => ({
    user: node.querySelector(".name").textContent,
    body: node.querySelector(".body").textContent,
    mine: node.classList.contains("mine"),
    unsent: node.classList.contains("unsent"),
  })),
  notices: [...document.querySelectorAll("#log .notice")].map(node => node.textContent),
}))

const when = (page, what, check) => until(`the page ${what}`, async () => check(await look(page)), () => look(page))

const sees = (page, ...people) => when(page, `shows ${people}`, seen => String(seen.people) === String(people))

const shows = (page, body) => when(page, `shows the message ${body}`, ({messages}) => messages.some(one => one.body === body && !one.unsent))

async function visit(page, http, name, room = "lobby") {
  await page.goto(`${http}/#${new URLSearchParams({room, as: name})}`)
  await when(page, "is connected", ({state, people}) => state === "Connected" && people.includes(name))
  return page
}

async function say(page, body) {
  await page.fill("#say", body)
  await page.press("#say", "Enter")
}

async function window(scope, http, name, options) {
  const page = await openWindow(scope, {viewport: {width: 1280, height: 800}, ...options})
  scope.defer(() => assert.deepEqual(page.troubles, []))
  return visit(page, http, name)
}

browserTest("page: two windows talk to each other and see who is there", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const ada = await window(scope, server.http, "Ada")
  const grace = await window(scope, server.http, "Grace", {viewport: {width: 390, height: 844}, colorScheme: "dark"})
  await Promise.all([sees(ada, "Ada", "Grace"), sees(grace, "Grace", "Ada")])
  await when(ada, "tells that Grace came in", ({notices}) => notices.includes("Grace came in"))

  const markup = `<img src="x" onerror="document.title='hit'"> & <b>bold</b>`
  await say(ada, "Good morning, Grace")
  await shows(grace, "Good morning, Grace")
  await say(grace, "Good morning, Ada")
  await shows(ada, "Good morning, Ada")
  await say(grace, markup)
  await shows(ada, markup)
  assert.deepEqual((await look(ada)).messages, [
    {user: "Ada", body: "Good morning, Grace", mine: true, unsent: false},
    {user: "Grace", body: "Good morning, Ada", mine: false, unsent: false},
    {user: "Grace", body: markup, mine: false, unsent: false},
  ])
  assert.equal(await ada.locator("#log img, #log b").count(), 0, "what people write is text")
  assert.equal(await ada.title(), "mycelium")

  await until("nothing moves", () => ada.evaluate(() => document.getAnimations().length === 0))
  await ada.screenshot({path: screenshot})
  t.diagnostic(`screenshot: ${screenshot}`)

  const tab = await visit(await openTab(grace.context()), server.http, "Grace")
  await when(ada, "shows two windows of Grace", ({badges}) => String(badges) === "×2")
  await tab.close()
  await when(ada, "shows one window of Grace", ({badges, people}) => badges.length === 0 && people.length === 2)
  await grace.close()
  await sees(ada, "Ada")
  await when(ada, "tells that Grace left", ({notices}) => notices.some(notice => notice.includes("Grace left")))
})

browserTest("page: a lost connection comes back, and what was said meanwhile arrives once", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const proxy = await startProxy(scope, server.port)
  const ada = await window(scope, proxy.http, "Ada")
  const grace = await window(scope, server.http, "Grace")
  await sees(ada, "Ada", "Grace")

  proxy.refuse()
  proxy.kill()
  await when(ada, "says that it reconnects", ({state}) => state === "Reconnecting")
  await sees(grace, "Grace")
  await say(ada, "from the tunnel")
  await when(ada, "marks the message as not sent", ({messages}) => messages.at(-1).unsent)
  proxy.heal()
  await when(ada, "is connected again", ({state}) => state === "Connected")
  await Promise.all([shows(ada, "from the tunnel"), shows(grace, "from the tunnel")])
  await Promise.all([sees(ada, "Ada", "Grace"), sees(grace, "Grace", "Ada")])
  for (const page of [ada, grace]) assert.equal((await look(page)).messages.length, 1)
})

browserTest("page: names and rooms change", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const ada = await window(scope, server.http, "Ada")
  const grace = await window(scope, server.http, "Grace")
  await sees(ada, "Ada", "Grace")

  await ada.fill("#name", "Countess")
  await ada.press("#name", "Enter")
  await Promise.all([sees(ada, "Countess", "Grace"), sees(grace, "Grace", "Countess")])

  await ada.fill("#room", "garden")
  await ada.press("#room", "Enter")
  await sees(grace, "Grace")
  await sees(ada, "Countess")
  assert.equal(new URL(ada.url()).hash, "#room=garden")
  await grace.goto(`${server.http}/#room=garden`)
  await Promise.all([sees(ada, "Countess", "Grace"), sees(grace, "Grace", "Countess")])
  await say(grace, "so this is the garden")
  await shows(ada, "so this is the garden")

  await ada.reload()
  await sees(ada, "Countess", "Grace")
})

browserTest("page: its own phoenix.js snippet works as it stands", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const ada = await window(scope, server.http, "Ada")
  const code = await ada.locator("#snippet").textContent()
  assert.ok(code.includes(`"${server.endpoint}"`), "with the host of the page")
  await runSnippet(scope, "page-snippet", code, server.endpoint)
  await shows(ada, "Hello")
})
