// The pictures of docs/instances.md: the example pages in use, and the observer with load on it by `mycelium bench`.
// `make pictures` runs it.

import {spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"
import {launchBrowser} from "./browser.mjs"
import {createInstance} from "./instances.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

const SIZE = {width: 1280, height: 800}
const LOAD_S = 90 // long enough for a chart of a minute

const picture = name => fileURLToPath(new URL(`../../docs/pictures/${name}.png`, import.meta.url))

const closers = [] // functions that stop the browser, the servers and the load
const scope = {defer: closer => closers.push(closer)} // like the scope of a test

/** Puts an instance under load until the scope ends. */
function load(instance, mode, ...flags) {
  const child = spawn(process.env.MYCELIUM_BIN, ["bench", mode, instance.socket_url, "--duration", "5m", ...flags], {stdio: "ignore", env: {}})
  scope.defer(async () => {
    const exit = once(child, "exit")
    if (child.exitCode === null && child.kill()) await exit
  })
}

async function window(browser, address, name, options = {}) {
  const page = await (await browser.newContext({viewport: SIZE, ...options})).newPage()
  await page.goto(`${address}#${new URLSearchParams({as: name})}`)
  await until(`${name} is connected`, async () => await page.locator("#state-text").textContent() === "Connected")
  return page
}

const still = page => until("nothing moves", () => page.evaluate(() => document.getAnimations().length === 0))

async function shoot(page, name) {
  await still(page)
  await page.screenshot({path: picture(name)})
  console.log(picture(name))
}

async function chat(browser, http) {
  const address = `${http}/examples/chat?instance=support`
  const [ada, grace] = [await window(browser, address, "Ada"), await window(browser, address, "Grace")]
  const say = async (page, body) => {
    await page.fill("#say", body)
    await page.press("#say", "Enter")
    await until("it is there", async () => (await ada.locator("#log .body").allTextContents()).includes(body))
  }
  await say(ada, "Good morning. Who looks after the game servers today?")
  await say(grace, "I do. Three new tables since breakfast, all made by the shop's back end.")
  await say(ada, "And nobody had to deploy anything?")
  await grace.fill("#say", "Not a thi")
  await until("Grace types", () => ada.locator("#typing").textContent())
  await shoot(ada, "chat")
}

async function game(browser, http) {
  const address = `${http}/examples/game?instance=table-1`
  const [ada, grace] = [await window(browser, address, "Ada"), await window(browser, address, "Grace", {viewport: {width: 390, height: 844}, colorScheme: "dark"})]
  await ada.click("#sit")
  await until("Ada sits", async () => (await grace.locator(".seat .name").allTextContents()).includes("Ada"))
  await grace.click("#sit")
  for (const [turn, column] of [3, 4, 2, 3, 4, 2, 5, 1, 3].entries()) {
    const page = turn % 2 === 0 ? ada : grace
    await until("the turn comes", async () => await page.locator("#verdict").textContent() === "Your turn")
    await page.locator("#board button").nth(column).click()
    await until("the piece has fallen", async () => await page.locator("#board .piece").count() === turn + 1)
  }
  await grace.mouse.move(0, 0)
  await until("Grace's turn", async () => await grace.locator("#verdict").textContent() === "Your turn")
  await shoot(ada, "game")
  await shoot(grace, "game-phone")
}

async function document(browser, http) {
  const address = `${http}/examples/collab?instance=minutes`
  const [ada, grace] = [await window(browser, address, "Ada"), await window(browser, address, "Grace")]
  await ada.locator("#text").pressSequentially("Minutes, Wednesday\n\n1. Every room is a server of its own.\n")
  await until("Grace has it", async () => /its own/.test(await grace.inputValue("#text")))
  await grace.locator("#text").press("Control+End")
  await Promise.all([grace.locator("#text").pressSequentially("2. Two write at once, and both keep their words."), ada.locator("#text").press("Control+Home")])
  await until("Ada has it", async () => /both keep their words/.test(await ada.inputValue("#text")))
  await shoot(ada, "document")
}

async function observer(browser, _, link) {
  const page = await (await browser.newContext({viewport: {...SIZE, height: 900}})).newPage()
  await page.goto(link)
  await page.click("#rows tr[data-id=shop-1] button")
  await new Promise(resolve => setTimeout(resolve, LOAD_S * 1000))
  await page.screenshot({path: picture("observer")})
  console.log(picture("observer"))
}

try {
  await fs.mkdir(new URL("../../docs/pictures/", import.meta.url), {recursive: true})
  const server = await startServer(scope)
  const relays = []
  for (const id of ["shop-1", "shop-2", "shop-3"]) relays.push(await createInstance(server, {id, type: "relay", labels: {team: "shop"}, config: {presence_off: ["room:bench-*"]}}))
  await createInstance(server, {id: "support", type: "chat"})
  await createInstance(server, {id: "table-1", type: "game", config: {rules: "connect4", clock: "5m"}})
  await createInstance(server, {id: "minutes", type: "collab"})
  const browser = await launchBrowser()
  scope.defer(() => browser.close())
  load(relays[0], "broadcast", "-c", "300", "--topics", "6", "--rate", "120")
  load(relays[1], "echo", "-c", "100", "--rate", "400")
  for (const pageOf of [chat, game, document, observer]) await pageOf(browser, server.http, await server.observer())
} finally {
  while (closers.length > 0) await closers.pop()()
}
