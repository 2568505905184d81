// mycelium behind real reverse proxies, configured as in docs/proxies.md.

import assert from "node:assert/strict"
import http from "node:http"
import test from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {browserTest, openWindow, useBrowser} from "./browser.mjs"
import {Client} from "./client.mjs"
import {missing, names, startReverseProxy} from "./reverse_proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

useBrowser()
leaveNothingBehind()

const ORIGIN = "http://shop.example:8080" // a page of the host that the browser asked for

/** Opens a WebSocket as a browser would, with an Origin and the Host of the page, from a given loopback address. */
const from = localAddress => class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, {origin: ORIGIN, headers: {Host: "shop.example:8080"}, localAddress})
  }
}

function proxyTest(name, title, run) {
  const why = missing(name)
  if (!why) return test(`${name}: ${title}`, t => run(new Scope(t)))
  if (process.env.CI === "true") return test(`${name}: ${title}`, () => { throw new Error(why) })
  return test(`${name}: ${title}`, {skip: why}, () => {})
}

/** A test of a proxy and Chromium. */
function pageTest(name, title, run) {
  if (!missing(name)) return browserTest(`${name}: ${title}`, t => run(new Scope(t)))
  proxyTest(name, title, run) // which says what is missing
}

const trusting = ["--trusted-proxies=127.0.0.1"]

for (const name of names) {
  for (const [way, prefix] of [["at the root", ""], ["below a path", "/realtime"]]) {
    proxyTest(name, `two users talk over WebSockets ${way}`, async scope => {
      const server = await startServer(scope, "mycelium", {more: trusting})
      const proxy = await startReverseProxy(scope, name, server.port)
      const [ada, bob] = ["ada", "bob"].map(user => {
        const client = new Client(phoenix, {endpoint: `ws://127.0.0.1:${proxy.port}${prefix}/socket`, transport: from("127.0.0.1"), join: {user}})
        scope.defer(() => client.close())
        return client
      })
      await until("both see both", () => same(ada.snapshot().here, {ada: 1, bob: 1}) && same(bob.snapshot().here, {ada: 1, bob: 1}),
        () => [ada.snapshot(), bob.snapshot()])
      assert.deepEqual(await ada.push("new_msg", {body: "hello"}), {status: "ok", response: {}})
      await until("bob gets the message", () => same(bob.snapshot().events, [{event: "new_msg", payload: {body: "hello"}}]), () => bob.snapshot())
    })

    proxyTest(name, `a user polls ${way}`, async scope => {
      const server = await startServer(scope, "mycelium", {more: trusting})
      const proxy = await startReverseProxy(scope, name, server.port)
      const poller = await startPoller(scope, `${proxy.http}${prefix}/socket/longpoll?vsn=2.0.0`)
      await poller.send('["1","1","room:lobby","phx_join",{"user":"ada"}]')
      await until("the join is answered", () => poller.messages.some(m => m[1] === "1" && m[4].status === "ok"), () => poller.messages)
      await poller.send('["1","2","room:lobby","new_msg",{"body":"hello"}]')
      await until("the message comes back", () => poller.messages.some(m => m[3] === "new_msg"), () => poller.messages)
    })
  }

  proxyTest(name, "clients are counted by their own addresses", async scope => {
    const server = await startServer(scope, "mycelium", {more: [...trusting, "--limits-max-connections-per-address=1"]})
    const proxy = await startReverseProxy(scope, name, server.port)
    const open = (localAddress, headers = {}) => new Promise(resolve => {
      const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/socket/websocket?vsn=2.0.0`, {localAddress, headers})
      scope.defer(() => socket.terminate())
      socket.on("open", () => resolve(101))
      socket.on("unexpected-response", (_, answer) => { answer.resume(); resolve(answer.statusCode) })
      socket.on("error", () => {}) // the answer has been given
    })
    assert.equal(await open("127.0.0.2"), 101)
    assert.equal(await open("127.0.0.3"), 101, "another address")
    assert.equal(await open("127.0.0.2"), 503, "the first address again")
    assert.equal(await open("127.0.0.2", {"X-Forwarded-For": "192.0.2.1"}), 503, "the first address, with a header of its own")
  })
}

const textOf = (page, selector) => page.evaluate(selector => document.querySelector(selector)?.textContent ?? "", selector)

const says = (page, selector, text) => until(`${selector} says ${text}`, async () => (await textOf(page, selector)).includes(text), () => textOf(page, selector))

const comesTo = (page, url) => until(`the page comes to ${url}`, () => page.url() === url, () => page.url())

for (const name of names) {
  pageTest(name, "the pages work below a path", async scope => {
    const server = await startServer(scope, "mycelium", {more: trusting})
    const proxy = await startReverseProxy(scope, name, server.port)
    const home = `${proxy.http}/realtime/`
    const ada = await openWindow(scope)
    await ada.goto(`${home}#as=Ada`)
    await says(ada, "#state-text", "Connected")
    assert.equal(await textOf(ada, "dd [data-fill=endpoint]"), `ws://127.0.0.1:${proxy.port}/realtime/socket`)
    assert.equal(await textOf(ada, "dd [data-fill=path]"), "/realtime/socket")
    await ada.click("a:text-is('observer')")
    await comesTo(ada, `${home}observer`)

    await ada.goto(`${home}observer/#key=${await server.key()}`)
    await says(ada, "#state-text", "Live")
    await comesTo(ada, `${home}observer`) // the key is out of the address
    await ada.click("#create")
    await ada.fill("#new-id", "talk")
    await ada.selectOption("#new-type", "chat")
    await ada.click("#dialog .primary")
    const popup = ada.waitForEvent("popup")
    await ada.click("#detail a:text-is('open its page')")
    const chat = await popup
    await says(chat, "#state-text", "Connected")
    await comesTo(chat, `${home}examples/chat?instance=talk`)
    await chat.click("a.home")
    await comesTo(chat, home)

    await chat.goto(`${home}examples/game`)
    await says(chat, "#curl", `curl ${home}api/instances`)
    assert.deepEqual(ada.troubles, [])
  })
}

pageTest("nginx", "the page says what a proxy leaves out", async scope => {
  const server = await startServer(scope)
  const headers = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header Host $http_host;"
  const mistakes = [
    ["pass on WebSocket upgrades", "location / { proxy_pass http://127.0.0.1:4000; proxy_set_header Host $http_host; }"],
    ["pass on the Host header", `location / { proxy_pass http://127.0.0.1:4000; ${headers.replace("Host $http_host", "Host shop.example")} }`],
    ["pass on the socket's path", `location / { proxy_pass http://127.0.0.1:4000; ${headers} } location /socket { return 404; }`],
  ]
  for (const [why, locations] of mistakes) {
    const proxy = await startReverseProxy(scope, "nginx", server.port, `map $http_upgrade $connection_upgrade { default upgrade; '' close; }\nserver { listen 80; ${locations} }\n`)
    const page = await openWindow(scope)
    await page.goto(`${proxy.http}/`)
    await says(page, "#why", why)
  }
})

// The least that passes on WebSockets: the server sees only a program on its own machine.
const BARE = `
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
server {
  listen 80;
  location / {
    proxy_pass http://127.0.0.1:4000;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
  }
}
`

for (const [name, what, text] of [...names.map(name => [name, "as in the guide"]), ["nginx", "that says nothing of itself", BARE]]) {
  proxyTest(name, `a proxy ${what} gives nobody rights, and passes on those of a key`, async scope => {
    const server = await startServer(scope)
    const proxy = await startReverseProxy(scope, name, server.port, text)
    const ask = async (method, path, headers) => {
      const body = method === "POST" ? JSON.stringify({id: "made", type: "relay"}) : undefined
      return (await fetch(proxy.http + path, {method, body, headers: {"Content-Type": "application/json", Connection: "close", ...headers}})).status
    }
    const observe = protocols => new Promise(resolve => {
      const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/observer/socket/websocket?vsn=2.0.0`, protocols)
      scope.defer(() => socket.terminate())
      socket.on("open", () => resolve(101))
      socket.on("unexpected-response", (_, answer) => { answer.resume(); resolve(answer.statusCode) })
      socket.on("error", () => {}) // the answer has been given
    })
    const requests = [["POST", "/api/instances"], ["GET", "/api/instances/made"], ["GET", "/metrics"], ["DELETE", "/api/instances/made"]]
    for (const [method, path] of requests) assert.equal(await ask(method, path), 401, `${method} ${path} without a key`)
    assert.equal(await observe(["phoenix"]), 403)
    const withKey = await server.headers()
    const statuses = []
    for (const [method, path] of requests) statuses.push(await ask(method, path, withKey))
    assert.deepEqual(statuses, [201, 200, 200, 204])
    assert.equal(await observe(["phoenix", `base64url.bearer.phx.${Buffer.from(await server.key()).toString("base64url")}`]), 101)
  })
}

/** A small client of long polling: Node has no XMLHttpRequest for phoenix.js. */
async function startPoller(scope, url) {
  const agent = new http.Agent({keepAlive: true})
  const controller = new AbortController()
  const messages = []
  const request = (method, token, body) => new Promise((resolve, reject) => {
    const target = new URL(url)
    if (token) target.searchParams.set("token", token)
    const r = http.request(target, {method, agent, signal: controller.signal, headers: {Origin: ORIGIN, Host: "shop.example:8080", "Content-Type": "application/x-ndjson"}}, answer => {
      let text = ""
      answer.setEncoding("utf8").on("data", part => { text += part }).on("end", () => {
        try { resolve(JSON.parse(text)) } catch { reject(new Error(`${answer.statusCode}: ${text}`)) }
      }).on("error", reject)
    })
    r.on("error", reject)
    r.end(body)
  })
  const {status, token} = await request("GET")
  assert.equal(status, 410, "the first answer brings the token")
  const polling = (async () => {
    while (!controller.signal.aborted) {
      const answer = await request("GET", token)
      for (const message of answer.messages ?? []) messages.push(JSON.parse(message))
    }
  })().catch(error => { if (!controller.signal.aborted) throw error })
  scope.defer(async () => {
    controller.abort()
    agent.destroy()
    await polling
  })
  return {messages, send: async message => assert.equal((await request("POST", token, message)).status, 200)}
}
