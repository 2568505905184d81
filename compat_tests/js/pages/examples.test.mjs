// The example pages of the built-in types, each in two windows of headless Chromium, with instances created by the HTTP API.

import assert from "node:assert/strict"
import {execFile} from "node:child_process"
import {fileURLToPath} from "node:url"
import {promisify} from "node:util"
import {browserTest, openWindow, useBrowser} from "../browser.mjs"
import {createInstance} from "../instances.mjs"
import {startProxy} from "../proxy.mjs"
import {leaveNothingBehind, Scope} from "../scope.mjs"
import {startServer} from "../server.mjs"
import {same, until} from "../wait.mjs"

useBrowser()
leaveNothingBehind()

const PHONE = {viewport: {width: 390, height: 844}, colorScheme: "dark", hasTouch: true}

const run = promisify(execFile)

const artifact = name => fileURLToPath(new URL(`../artifacts/example-${name}.png`, import.meta.url))

async function shoot(t, page, name) {
  await until("nothing moves", () => page.evaluate(() => document.getAnimations().length === 0))
  await page.screenshot({path: artifact(name)})
  t.diagnostic(`screenshot: ${artifact(name)}`)
}

async function visit(scope, http, type, name, options, id = type) {
  const page = await openWindow(scope, {viewport: {width: 1280, height: 800}, ...options})
  scope.defer(() => assert.deepEqual(page.troubles, []))
  await page.goto(`${http}/examples/${type}?instance=${id}#${new URLSearchParams({as: name})}`)
  await until(`${name} is connected`, async () => await text(page, "#state-text") === "Connected", () => text(page, "body"))
  return page
}

const text = (page, selector) => page.locator(selector).first().textContent()
const texts = (page, selector) => page.locator(selector).allTextContents()

const becomes = (what, look, wanted) => until(what, async () => same(await look(), wanted), look)

const fits = async page => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the window")

/** Opens two windows of a new instance: Ada's on a wide screen, Grace's on a phone. */
async function two(t, type, config) {
  const scope = new Scope(t)
  const server = await startServer(scope)
  await createInstance(server, {id: type, type, config})
  const ada = await visit(scope, server.http, type, "Ada")
  const grace = await visit(scope, server.http, type, "Grace", PHONE)
  return {scope, server, ada, grace}
}

browserTest("examples: without an instance a page says how to create one, and its command does", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  for (const type of ["chat", "game", "collab"]) {
    const page = await openWindow(scope)
    await page.goto(`${server.http}/examples/${type}`)
    const command = await page.locator("#curl").textContent()
    assert.ok(command.includes(`${server.http}/api/instances`), command)
    const {stdout} = await run("sh", ["-c", command], {env: server.environment})
    const {id} = JSON.parse(stdout)
    await page.press("#open-id", "Enter")
    await becomes("the page is connected to it", () => text(page, "#state-text"), "Connected")
    assert.equal(await text(page, "[data-instance]"), id)
    assert.equal(await page.locator("#guide").isVisible(), false)
    assert.deepEqual(page.troubles, [])
  }
})

browserTest("examples: a page that gets no connection says why, and what to do", async t => {
  const scope = new Scope(t)
  const server = await startServer(scope)
  const proxy = await startProxy(scope, server.port)
  const page = await openWindow(scope, PHONE)
  const why = () => text(page, "#guide-why")
  const open = async id => {
    await page.goto(`${proxy.http}/examples/chat?instance=${id}`)
    await until("the page says why", () => page.locator("#guide").isVisible())
  }
  await open("nobody")
  assert.match(await why(), /There is no instance "nobody"/)
  await page.screenshot({path: artifact("guide")}) // its lamp is animated
  const [, body] = /-d '([^']*)'/s.exec(await page.locator("#curl").textContent())
  await createInstance(server, JSON.parse(body))
  await becomes("the page connects when it has been created", () => text(page, "#state-text"), "Connected")
  assert.equal(await page.locator("#guide").isVisible(), false)

  const change = async (method, path) => fetch(`${server.http}/api/instances/${path}`, {method, headers: await server.headers()})
  await change("DELETE", "nobody")
  await until("the page says that it is gone", () => page.locator("#guide").isVisible())
  assert.match(await why(), /There is no instance "nobody"/)

  await createInstance(server, {id: "drained", type: "chat"})
  await change("POST", "drained/drain")
  await open("drained")
  assert.match(await why(), /accepts no new connections/)
  assert.equal(await page.locator("#curl").isVisible(), false)

  await createInstance(server, {id: "full", type: "chat", limits: {max_connections: 1}})
  await visit(scope, server.http, "chat", "Ada", {}, "full")
  await open("full")
  assert.match(await why(), /The instance may be full/)

  await createInstance(server, {id: "text", type: "collab"})
  await page.goto(`${proxy.http}/examples/chat?instance=text`)
  await becomes("it says so once", () => texts(page, "#log .notice"),
    ["The room did not let us in: this topic does not exist here; the instance may be of another type."])

  await page.goto(`${proxy.http}/examples/chat?instance=soon`)
  proxy.refuse()
  proxy.kill()
  await until("the page says that the server is gone", async () => /does not answer/.test(await why()), why)
})

browserTest("examples: a chat has a backlog, and shows who is typing", async t => {
  const {scope, server, ada, grace} = await two(t, "chat")
  const bodies = page => () => texts(page, "#log .message .body")
  const say = async (page, body) => {
    await page.fill("#say", body)
    await page.press("#say", "Enter")
  }
  await becomes("Ada sees both", () => texts(ada, "#people-list .name"), ["Ada", "Grace"])
  await grace.fill("#say", "Good mor")
  await becomes("Ada sees that Grace types", () => text(ada, "#typing"), "Grace is typing")
  await say(grace, "Good morning, Ada")
  await becomes("Ada has it", bodies(ada), ["Good morning, Ada"])
  await becomes("and Grace types no more", () => text(ada, "#typing"), "")
  await say(ada, "<b>Hello</b>, Grace")
  await becomes("Grace has both", bodies(grace), ["Good morning, Ada", "<b>Hello</b>, Grace"])
  const kim = await visit(scope, server.http, "chat", "Kim")
  await becomes("who comes later has both", bodies(kim), ["Good morning, Ada", "<b>Hello</b>, Grace"])
  await becomes("nobody has one twice", bodies(grace), ["Good morning, Ada", "<b>Hello</b>, Grace"])
  for (const page of [ada, grace]) await fits(page)
  await shoot(t, ada, "chat")
  await shoot(t, grace, "chat-phone")
})

browserTest("examples: a message sent during a lost connection arrives once", async t => {
  const {scope, server, grace} = await two(t, "chat")
  const proxy = await startProxy(scope, server.port)
  const kim = await visit(scope, proxy.http, "chat", "Kim")
  const bodies = page => () => texts(page, "#log .message .body")
  proxy.refuse()
  proxy.kill()
  await becomes("Kim's window knows", () => text(kim, "#state-text"), "Reconnecting")
  await kim.fill("#say", "from the tunnel")
  await kim.press("#say", "Enter")
  await until("it is marked", () => kim.locator("#log .unsent").isVisible())
  await grace.fill("#say", "meanwhile")
  await grace.press("#say", "Enter")
  proxy.heal()
  for (const page of [grace, kim]) await becomes("all have both", async () => (await bodies(page)()).sort(), ["from the tunnel", "meanwhile"])
  assert.equal(await kim.locator("#log .unsent").count(), 0)

  await grace.fill("#say", "Are you through?")
  await grace.press("#say", "Enter")
  await becomes("Kim has it", async () => (await bodies(kim)()).at(-1), "Are you through?")
  proxy.refuse()
  proxy.kill()
  await becomes("Kim's window knows again", () => text(kim, "#state-text"), "Reconnecting")
  for (const body of ["Kim?", "Still there?"]) {
    await grace.fill("#say", body)
    await grace.press("#say", "Enter")
  }
  await becomes("Grace has them", async () => (await bodies(grace)()).slice(-2), ["Kim?", "Still there?"])
  proxy.heal()
  await becomes("Kim's window has caught up", async () => (await bodies(kim)()).slice(-3), ["Are you through?", "Kim?", "Still there?"])
  assert.equal((await texts(kim, "#log .notice")).at(-1), "2 messages came while you were away")
  await shoot(t, kim, "chat-caught-up")
})

browserTest("examples: connect four, with clocks, by mouse and by keyboard, to its end and again", async t => {
  const {ada, grace} = await two(t, "game", {rules: "connect4", clock: "5m", increment: "3s"})
  const verdict = page => () => text(page, "#verdict")
  const drop = async (page, column) => {
    const before = await page.locator("#board .piece").count()
    await page.locator("#board button").nth(column).click()
    await becomes("the piece has fallen", () => page.locator("#board .piece").count(), before + 1)
  }
  await becomes("the table waits", verdict(ada), "Waiting for players")
  await ada.click("#sit")
  await until("Grace sees that Ada sits", async () => (await texts(grace, ".seat .name")).includes("Ada"))
  await grace.click("#sit")
  await becomes("Ada begins", verdict(ada), "Your turn")
  await becomes("Grace waits", verdict(grace), "Ada is to move")
  await until("the clocks are shown", async () => (await texts(ada, ".seat .clock")).every(clock => /^[45]:\d\d$/.test(clock)))

  await drop(ada, 3)
  await becomes("Grace's turn", verdict(grace), "Your turn")
  await grace.focus("#board button >> nth=0")
  await grace.press("#board button >> nth=0", "ArrowRight")
  await grace.keyboard.press("Enter")
  await becomes("Ada's turn", verdict(ada), "Your turn")
  for (const column of [3, 1, 3]) {
    const page = column === 3 ? ada : grace
    await becomes("the next turn", verdict(page), "Your turn")
    await drop(page, column)
  }
  await ada.reload()
  await becomes("after a reload Ada has her seat", verdict(grace), "Your turn")
  await shoot(t, grace, "game-phone")
  await drop(grace, 1)
  await becomes("Ada's turn", verdict(ada), "Your turn")
  await drop(ada, 3)
  await Promise.all([becomes("Ada has won", verdict(ada), "You have won"), becomes("Grace knows", verdict(grace), "Ada has won")])
  assert.equal(await ada.locator("#board .line").count(), 4)
  await shoot(t, ada, "game")
  for (const page of [ada, grace]) await fits(page)

  for (const page of [ada, grace]) await page.click("#rematch")
  await becomes("Grace begins the rematch", verdict(grace), "Your turn")
  await grace.click("#draw")
  await becomes("Ada is offered a draw", () => text(ada, "#draw"), "Accept the draw")
  await ada.click("#draw")
  await becomes("they have a draw", verdict(grace), "A draw")
})

browserTest("examples: snake ticks for players and for spectators", async t => {
  const {ada, grace} = await two(t, "game", {rules: "snake", seats: 2, rate: 20})
  await until("the field is there", () => ada.locator("#field").isVisible())
  await ada.click("#sit")
  await until("Ada plays", () => ada.locator("#stand").isVisible())
  await grace.click("#sit")
  await until("Grace plays", () => grace.locator("#pad").isVisible())
  await becomes("both see both", () => texts(ada, ".seat .name"), ["Ada", "Grace"])
  // The picture is the game: it changes with the ticks, in either window.
  const picture = page => page.locator("#field").evaluate(canvas => canvas.toDataURL())
  for (const page of [ada, grace]) {
    const before = await picture(page)
    await until("the field moves", async () => await picture(page) !== before)
  }
  await ada.keyboard.press("ArrowUp")
  await grace.locator("#pad [data-go=down]").dispatchEvent("pointerdown")
  await ada.screenshot({path: artifact("snake")})
  await grace.screenshot({path: artifact("snake-phone")})
  for (const page of [ada, grace]) {
    await fits(page)
    assert.equal(await text(page, "#told"), "")
    await page.click("#stand")
  }
})

browserTest("examples: two write one document, at once and through a lost connection", async t => {
  const {scope, server, ada, grace} = await two(t, "collab", {durable: true})
  const proxy = await startProxy(scope, server.port)
  const kim = await visit(scope, proxy.http, "collab", "Kim")
  const value = page => () => page.inputValue("#text")
  await becomes("all see all", () => texts(ada, "#names .name"), ["Ada", "Grace", "Kim"])
  await ada.locator("#text").pressSequentially("We write one document.")
  await becomes("Grace reads it", value(grace), "We write one document.")
  await grace.locator("#text").press("Control+End")
  await Promise.all([
    grace.locator("#text").pressSequentially(" I write at its end."),
    ada.evaluate(() => document.querySelector("#text").setSelectionRange(0, 0)).then(() => ada.locator("#text").pressSequentially("Ada begins. ")),
  ])
  const both = "Ada begins. We write one document. I write at its end."
  for (const page of [ada, grace, kim]) await becomes("all have both", value(page), both)

  proxy.refuse()
  proxy.kill()
  await becomes("Kim's window knows", () => text(kim, "#state-text"), "Reconnecting")
  await kim.locator("#text").press("Control+Home")
  await kim.locator("#text").pressSequentially("Offline too: ")
  assert.match(await text(kim, "#saved"), /not sent yet/)
  await grace.locator("#text").pressSequentially(" And on.")
  proxy.heal()
  for (const page of [ada, grace, kim]) await becomes("all have all", value(page), `Offline too: ${both} And on.`)
  await until("Kim's window says that it is sent", async () => /^Revision \d+$/.test(await text(kim, "#saved")))
  for (const page of [ada, grace]) await fits(page)
  await shoot(t, ada, "collab")
  await shoot(t, grace, "collab-phone")
})
