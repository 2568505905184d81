// The page at "/", in two windows of each browser.

import assert from "node:assert/strict"
import {fileURLToPath} from "node:url"
import {inEachBrowser} from "../browser.mjs"
import {createInstance} from "../instances.mjs"
import {startProxy} from "../proxy.mjs"
import {leaveNothingBehind, Scope} from "../scope.mjs"
import {startServer} from "../server.mjs"
import {runSnippet} from "../snippet.mjs"
import {until} from "../wait.mjs"

leaveNothingBehind()

const screenshot = (kind, name) => fileURLToPath(new URL(`../artifacts/page-${kind.name.toLowerCase()}${name}.png`, import.meta.url))

const WIDE = {viewport: {width: 1280, height: 800}}
const PHONE = {viewport: {width: 390, height: 844}}

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
  troubles: [...document.querySelectorAll("#log .trouble")].map(node => node.textContent),
  why: document.querySelector("#why")?.textContent || null,
  notices: [...document.querySelectorAll("#log .notice")].map(node => node.textContent),
}))

const when = (page, what, check) => until(`the page ${what}`, async () => check(await look(page)), () => look(page))

const sees = (page, ...people) => when(page, `shows ${people}`, seen => String(seen.people) === String(people))

const shows = (page, body) => when(page, `shows the message ${body}`, ({messages}) => messages.some(one => one.body === body && !one.unsent))

const textOf = (page, selector) => page.evaluate(selector => document.querySelector(selector)?.textContent ?? "", selector)

const countOf = (page, selector) => page.evaluate(selector => document.querySelectorAll(selector).length, selector)

async function visit(page, http, name, room = "lobby") {
  await page.goto(`${http}/#${new URLSearchParams({room, as: name})}`)
  await when(page, "is connected", ({state, people}) => state === "Connected" && people.includes(name))
  return page
}

async function say(page, body) {
  await page.fill("#say", body)
  await page.press("#say", "Enter")
}

inEachBrowser((browserTest, kind) => {
  const shoot = async (t, page, name = "") => {
    if (kind.name !== "Chromium") return // WebKit's are of what was painted some time ago
    await until("nothing moves", () => page.evaluate(() => document.getAnimations().every(one => one.effect.getTiming().iterations === Infinity)))
    await page.screenshot({path: screenshot(kind, name)})
    t.diagnostic(`screenshot: ${screenshot(kind, name)}`)
  }

  browserTest("page: two windows talk to each other and see who is there", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const ada = await visit(await open(scope, WIDE), server.http, "Ada")
    const grace = await visit(await open(scope, PHONE), server.http, "Grace")
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
    assert.equal(await countOf(ada, "#log img, #log b"), 0, "what people write is text")
    assert.equal(await ada.title(), "mycelium")
    await shoot(t, ada)

    const tab = await visit(await open(scope), server.http, "Grace")
    await when(ada, "shows two windows of Grace", ({badges}) => String(badges) === "×2")
    await tab.goto("about:blank")
    await when(ada, "shows one window of Grace", ({badges, people}) => badges.length === 0 && people.length === 2)
    await grace.goto("about:blank")
    await sees(ada, "Ada")
    await when(ada, "tells that Grace left", ({notices}) => notices.some(notice => notice.includes("Grace left")))
  })

  browserTest("page: it reconnects after a lost connection, and messages sent meanwhile arrive once", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const proxy = await startProxy(scope, server.port)
    const ada = await visit(await open(scope, WIDE), proxy.http, "Ada")
    const grace = await visit(await open(scope, WIDE), server.http, "Grace")
    await sees(ada, "Ada", "Grace")

    proxy.refuse()
    proxy.kill()
    await when(ada, "says that it reconnects", ({state}) => state === "Reconnecting")
    await sees(grace, "Grace")
    await say(ada, "from the tunnel")
    await when(ada, "marks the message as not sent", ({messages}) => messages.at(-1).unsent)
    await when(ada, "says why", ({why}) => why === "The server does not answer. This page keeps trying.")
    proxy.heal()
    await when(ada, "is connected again", ({state, why}) => state === "Connected" && why === null)
    await Promise.all([shows(ada, "from the tunnel"), shows(grace, "from the tunnel")])
    await Promise.all([sees(ada, "Ada", "Grace"), sees(grace, "Grace", "Ada")])
    for (const page of [ada, grace]) assert.equal((await look(page)).messages.length, 1)
  })

  browserTest("page: after a restart it waits for the others before it sends its messages", async (t, open) => {
    const scope = new Scope(t)
    let server = await startServer(scope)
    const [adas, graces] = [await startProxy(scope, server.port), await startProxy(scope, server.port)]
    const ada = await visit(await open(scope, WIDE), adas.http, "Ada")
    const grace = await visit(await open(scope, WIDE), graces.http, "Grace")
    await sees(ada, "Ada", "Grace")
    await server.kill()
    await when(ada, "says that it reconnects", ({state}) => state === "Reconnecting")
    await say(ada, "from the tunnel")
    graces.refuse() // her window does not come back as soon as Ada's
    server = await startServer(scope)
    adas.target = graces.target = server.port
    await when(ada, "is connected again", ({state, people}) => state === "Connected" && String(people) === "Ada")
    await when(ada, "says that the message waits", ({troubles}) => String(troubles) === "Not sent yet. It will be sent when the others are back.")
    await say(ada, "and one more")
    await when(ada, "keeps that one too", ({messages}) => messages.length === 2 && messages.every(({unsent}) => unsent))
    await shoot(t, ada, "-waits")
    graces.heal()
    for (const page of [ada, grace]) {
      await shows(page, "from the tunnel")
      await shows(page, "and one more")
      assert.deepEqual((await look(page)).messages.map(({body}) => body), ["from the tunnel", "and one more"])
    }
  })

  // It takes 9 s: the page waits for 8 s.
  browserTest("page: after a restart it does not wait for ever for people who do not come back", async (t, open) => {
    const scope = new Scope(t)
    let server = await startServer(scope)
    const [adas, graces] = [await startProxy(scope, server.port), await startProxy(scope, server.port)]
    const ada = await visit(await open(scope, WIDE), adas.http, "Ada")
    await visit(await open(scope, WIDE), graces.http, "Grace")
    await sees(ada, "Ada", "Grace")
    graces.refuse()
    await server.kill()
    await when(ada, "says that it reconnects", ({state}) => state === "Reconnecting")
    await say(ada, "is anybody there?")
    server = await startServer(scope)
    adas.target = server.port
    await shows(ada, "is anybody there?")
    await sees(ada, "Ada")
  })

  browserTest("page: a message without an answer is marked", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const proxy = await startProxy(scope, server.port)
    const ada = await visit(await open(scope, WIDE), proxy.http, "Ada")
    proxy.freeze()
    await say(ada, "into the void")
    await when(ada, "marks it", ({troubles}) => String(troubles) === "Not confirmed yet.")
    proxy.kill()
    await shows(ada, "into the void")
  })

  browserTest("page: names and rooms change", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const ada = await visit(await open(scope, WIDE), server.http, "Ada")
    const grace = await visit(await open(scope, WIDE), server.http, "Grace")
    await sees(ada, "Ada", "Grace")

    await ada.fill("#name", "Countess")
    await Promise.all([ada.press("#name", "Enter"), sees(ada, "Countess", "Grace"), sees(grace, "Grace", "Countess")])

    await ada.fill("#room", "garden")
    await ada.press("#room", "Enter")
    await sees(grace, "Grace")
    await sees(ada, "Countess")
    assert.equal(await ada.evaluate(() => location.hash), "#room=garden")
    await grace.goto(`${server.http}/#room=garden`)
    await Promise.all([sees(ada, "Countess", "Grace"), sees(grace, "Grace", "Countess")])
    await say(grace, "so this is the garden")
    await shows(ada, "so this is the garden")

    await ada.reload()
    await sees(ada, "Countess", "Grace")
  })

  browserTest("page: away and back, from the back-forward cache or not", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const ada = await visit(await open(scope, WIDE), server.http, "Ada")
    const grace = await visit(await open(scope, WIDE), server.http, "Grace")
    await sees(grace, "Grace", "Ada")
    await ada.evaluate(() => addEventListener("pageshow", event => { window.fromCache = event.persisted }))
    await ada.goto(`${server.http}/examples/chat`)
    await sees(grace, "Grace")
    await ada.goBack()
    await Promise.all([sees(ada, "Ada", "Grace"), sees(grace, "Grace", "Ada")])
    t.diagnostic(`${kind.name} takes the page ${await ada.evaluate(() => window.fromCache === true) ? "from its cache" : "anew"}`)
    await say(ada, "I am back")
    await shows(grace, "I am back")
    await say(grace, "welcome")
    await shows(ada, "welcome")
    assert.equal((await look(grace)).messages.length, 2)
  })

  const refusals = [
    ["tokens are required", "requires a token", {
      more: ["--auth-join", "room:*"], env: {MYCELIUM_AUTH_SECRET: "a-secret-of-32-bytes-at-the-least"},
    }],
    ["the origin is refused", "with the option check_origin", {more: ["--check-origin", "https://example.com"]}],
    ["no WebSocket gets through", "the WebSocket does not open", {more: ["--check-origin", "https://example.com", "--long-poll=false"]}],
  ]
  for (const [what, why, options] of refusals) {
    browserTest(`page: it says so if ${what}`, async (t, open) => {
      const scope = new Scope(t)
      const server = await startServer(scope, "mycelium", options)
      const ada = await open(scope, WIDE)
      await ada.goto(`${server.http}/`)
      await when(ada, "says why", seen => seen.why?.includes(why) && seen.state === "Not connected")
      await shoot(t, ada, `-${what.replaceAll(" ", "-")}`)
    })
  }

  browserTest("page: it connects where the option path has moved the socket", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope, "mycelium", {more: ["--path", "/live"]})
    const ada = await visit(await open(scope, WIDE), server.http, "Ada")
    assert.equal(await textOf(ada, "dd [data-fill=endpoint]"), `ws://127.0.0.1:${server.port}/live`)
    await createInstance(server, {id: "talk", type: "chat"})
    const grace = await open(scope, WIDE)
    await grace.goto(`${server.http}/examples/chat?instance=talk#as=Grace`)
    await sees(grace, "Grace")
  })

  browserTest("page: it says so while the server accepts nobody", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope, "mycelium", {more: ["--limits-handshakes-per-second", "1"]})
    const ada = await visit(await open(scope, WIDE), server.http, "Ada")
    const flood = setInterval(() => { fetch(`${server.http}/socket/websocket`, {headers: {connection: "close"}}).catch(() => {}) }, 20)
    scope.defer(() => clearInterval(flood))
    await ada.reload()
    await when(ada, "says why", ({why}) => why?.startsWith("The server accepts no new connections"))
    clearInterval(flood)
    await when(ada, "is connected", ({state, why}) => state === "Connected" && why === null)
  })

  browserTest("page: it says so while the server drains", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope, "mycelium", {more: ["--drain-batch", "1", "--drain-interval", "30s", "--drain-timeout", "2m"]})
    const pages = [await visit(await open(scope, WIDE), server.http, "Ada"), await visit(await open(scope, WIDE), server.http, "Grace")]
    server.child.kill("SIGTERM")
    // One of them is sent away first, and the server is there until the other is too.
    const whys = async () => (await Promise.all(pages.map(look))).map(({why}) => why)
    await until("one page says why", async () => (await whys()).some(why => why?.startsWith("The server accepts no new connections")), whys)
    await server.kill() // the rest of the drain is not waited for
  })

  browserTest("page: a hidden page says that it waits until it is shown", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const proxy = await startProxy(scope, server.port)
    const ada = await visit(await open(scope, WIDE), proxy.http, "Ada")
    const become = state => ada.evaluate(state => {
      Object.defineProperty(document, "visibilityState", {value: state, configurable: true})
      document.dispatchEvent(new Event("visibilitychange", {bubbles: true}))
    }, state)
    await become("hidden")
    proxy.kill()
    await when(ada, "says that it waits", ({why}) => why === "This page is hidden and reconnects when it is shown.")
    await become("visible")
    await when(ada, "is connected", ({state, why}) => state === "Connected" && why === null)
  })

  browserTest("page: its own phoenix.js snippet works as it stands", async (t, open) => {
    const scope = new Scope(t)
    const server = await startServer(scope)
    const ada = await visit(await open(scope, WIDE), server.http, "Ada")
    const code = await textOf(ada, "#snippet")
    assert.ok(code.includes(`"${server.endpoint}"`), "with the host of the page")
    await runSnippet(scope, `page-snippet-${kind.name}`, code, server.endpoint)
    await shows(ada, "Hello")
  })
})
