// examples/yjs with npm's y-phoenix-channel, unchanged: in Node, and in the example's own page.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import path from "node:path"
import test from "node:test"
import {Socket} from "phoenix"
import {WebSocket} from "ws"
import {PhoenixChannelProvider} from "y-phoenix-channel"
import * as Y from "yjs"
import {browserTest, openTab, openWindow, useBrowser} from "./browser.mjs"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {snippetsOf, start} from "./snippet.mjs"
import {bundle, FILE} from "./vendor.mjs"
import {same, until} from "./wait.mjs"
import {startYjs, temporaryFolder} from "./yjs.mjs"

useBrowser()
leaveNothingBehind()

/** An editor of a document of an endpoint. */
class Editor {
  constructor(scope, endpoint, name, topic = "y_doc_room:test") {
    this.doc = new Y.Doc()
    // The provider's pushes get no answer, so their timers run to the end.
    this.socket = new Socket(endpoint, {transport: WebSocket, timeout: 3000, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20})
    this.socket.connect()
    // Without this, providers in one process would exchange updates through a BroadcastChannel instead of the server.
    this.provider = new PhoenixChannelProvider(this.socket, topic, this.doc, {disableBc: true})
    this.name = name
    this.show()
    scope.defer(() => this.close())
  }

  get text() { return this.doc.getText("text") }
  get connected() { return this.provider.synced }
  get here() { return [...this.provider.awareness.getStates().values()].map(({name}) => name).sort() }

  /** Moves the cursor. Without a change, others do not show a client again that they saw leave. */
  show() { this.provider.awareness.setLocalStateField("name", this.name) }

  write(words) { this.text.insert(this.text.length, words) }
  synced() { return until("the editor is in sync", () => this.connected) }

  close() {
    this.provider.destroy()
    this.doc.destroy()
    return new Promise(resolve => { this.socket.disconnect(resolve) })
  }
}

const texts = editors => editors.map(editor => editor.text.toString())

/** Checks that all of them end with the same text, which has all of these words. */
async function converge(editors, ...words) {
  const agree = () => {
    const [first, ...others] = texts(editors)
    return words.every(word => first.includes(word)) && others.every(other => other === first)
  }
  await until(`all have ${words.join(", ")}`, agree, () => texts(editors))
}

test("y-phoenix-channel: editors at once, late joiners, who is here", async t => {
  const scope = new Scope(t)
  const server = await startYjs(scope)
  const [ada, grace] = ["ada", "grace"].map(name => new Editor(scope, server.endpoint, name))
  await Promise.all([ada.synced(), grace.synced()])
  ada.write("from ada; ")
  grace.write("from grace; ")
  ada.doc.getMap("settings").set("size", 12)
  await converge([ada, grace], "from ada", "from grace")
  ada.text.delete(0, ada.text.toString().indexOf("from grace"))
  ada.doc.getText("text").format(0, 4, {bold: true})

  const late = new Editor(scope, server.endpoint, "late")
  await late.synced()
  await until("the late one has what there is", () => same(late.text.toDelta(), ada.text.toDelta()), () => late.text.toDelta())
  assert.equal(late.doc.getMap("settings").get("size"), 12)
  for (const editor of [ada, grace, late]) {
    await until("each sees all", () => same(editor.here, ["ada", "grace", "late"]), () => editor.here)
  }
  grace.provider.disconnect()
  for (const editor of [ada, late]) await until("grace has left", () => same(editor.here, ["ada", "late"]), () => editor.here)
  late.socket.conn.terminate()
  await until("late was cut off", () => same(ada.here, ["ada"]), () => ada.here)
  await late.synced()
  late.show()
  await until("late is back", () => same(ada.here, ["ada", "late"]), () => ada.here)
})

test("y-phoenix-channel: a lost network, and edits on both sides", async t => {
  const scope = new Scope(t)
  const server = await startYjs(scope)
  const proxy = await startProxy(scope, server.port)
  const [ada, kim] = [new Editor(scope, server.endpoint, "ada"), new Editor(scope, proxy.endpoint, "kim")]
  await Promise.all([ada.synced(), kim.synced()])
  ada.write("before; ")
  await converge([ada, kim], "before")
  proxy.refuse()
  proxy.kill()
  await until("kim has no connection", () => !kim.connected)
  ada.write("ada meanwhile; ")
  kim.write("kim meanwhile; ")
  kim.text.delete(0, "before; ".length)
  proxy.heal()
  await converge([ada, kim], "ada meanwhile", "kim meanwhile")
  assert.ok(!ada.text.toString().includes("before"), "what kim deleted is deleted")

  proxy.freeze() // what kim writes now never arrives
  kim.write("into the void; ")
  proxy.kill()
  await converge([ada, kim], "into the void")
  const late = new Editor(scope, server.endpoint, "late")
  await converge([ada, kim, late], "into the void")
})

test("y-phoenix-channel: a killed server, with its folder and with an empty one", async t => {
  const scope = new Scope(t)
  const folder = await temporaryFolder(scope)
  const first = await startYjs(scope, folder)
  const [ada, kim] = ["ada", "kim"].map(name => new Editor(scope, first.endpoint, name))
  await Promise.all([ada.synced(), kim.synced()])
  ada.write("before; ")
  await converge([ada, kim], "before")
  await first.kill()
  await until("both know", () => !ada.connected && !kim.connected)
  const alone = await startYjs(scope, folder) // on another port, without ada and kim
  const reader = new Editor(scope, alone.endpoint, "reader")
  await converge([reader], "before")
  await reader.close()
  await alone.stop()

  ada.write("ada meanwhile; ")
  kim.write("kim meanwhile; ")
  const empty = await temporaryFolder(scope)
  await startYjs(scope, empty, "-addr", `127.0.0.1:${first.port}`)
  await converge([ada, kim, new Editor(scope, first.endpoint, "late")], "before", "ada meanwhile", "kim meanwhile")
  for (const editor of [ada, kim]) editor.show()
  await until("they see each other", () => same(ada.here, ["ada", "kim", "late"]), () => ada.here)
})

test("y-phoenix-channel: 3,000 updates in a burst, which a client then makes one", async t => {
  const scope = new Scope(t)
  const folder = await temporaryFolder(scope)
  const server = await startYjs(scope, folder)
  const [ada, grace] = ["ada", "grace"].map(name => new Editor(scope, server.endpoint, name))
  await Promise.all([ada.synced(), grace.synced()])
  let bytes = 0
  ada.doc.on("update", update => { bytes += update.length })
  for (let n = 0; n < 3000; n++) ada.text.insert(n % 100 === 0 ? 0 : ada.text.length, `${n} `)
  const text = ada.text.toString()
  const has = editor => () => editor.text.toString() === text
  await until("grace has all", has(grace), () => grace.text.length)
  const late = new Editor(scope, server.endpoint, "late")
  await until("the late one has all", has(late), () => late.text.length)
  const [name] = await fs.readdir(folder)
  const size = async () => (await fs.stat(path.join(folder, name))).size
  await until("the log is smaller than the updates", async () => await size() < bytes / 2, async () => ({size: await size(), bytes}))
  const last = new Editor(scope, server.endpoint, "last")
  await until("who comes after that has all", has(last), () => last.text.length)
})

test("docs/examples.md: the snippet of y-phoenix-channel edits a document", async t => {
  const scope = new Scope(t)
  const server = await startYjs(scope)
  const ada = new Editor(scope, server.endpoint, "ada", "y_doc_room:hello")
  await ada.synced()
  ada.write("Hello.")
  const [code] = snippetsOf(await fs.readFile(new URL("../../docs/examples.md", import.meta.url), "utf8"), "y-phoenix-channel")
  const {output} = await start(scope, "yjs", code.replace("ws://localhost:4000/socket", server.endpoint))
  const text = "Hello from Node. Hello."
  await until("ada has what it writes", () => ada.text.toString() === text, () => output)
  await until("it prints what there is", () => output.out.includes(`\n${text}\n`) || output.err, () => output)
  assert.equal(output.err, "")
})

test("examples/yjs: its vendor.js is what npm has", async () => {
  assert.equal(await fs.readFile(FILE, "utf8"), await bundle(), "node vendor.mjs")
})

browserTest("examples/yjs: two tabs and another window edit one document", async t => {
  const scope = new Scope(t)
  const server = await startYjs(scope)
  const open = async page => {
    await page.goto(`${server.http}/#a%20b`)
    await until("the page is connected", async () => await page.textContent("#state") === "connected", () => page.textContent("body"))
    return page
  }
  const ada = await open(await openWindow(scope, {viewport: {width: 800, height: 700}}))
  const tab = await open(await openTab(ada.context()))
  const grace = await open(await openWindow(scope, {viewport: {width: 390, height: 844}, colorScheme: "dark"}))
  const pages = [ada, tab, grace]
  for (const [index, name] of ["Ada", "Ada's tab", "Grace"].entries()) await pages[index].fill("#me", name)
  const value = page => page.inputValue("#text")
  const all = wanted => until(`all have ${wanted}`, async () => same(await Promise.all(pages.map(value)), pages.map(() => wanted)), () => Promise.all(pages.map(value)))

  await ada.locator("#text").pressSequentially("We write one document 😀.")
  await all("We write one document 😀.")
  await grace.locator("#text").press("Control+End")
  await Promise.all([
    grace.locator("#text").pressSequentially(" So do I."),
    tab.evaluate(() => document.querySelector("#text").setSelectionRange(0, 0)).then(() => tab.locator("#text").pressSequentially("First: ")),
  ])
  await all("First: We write one document 😀. So do I.")
  await ada.fill("#text", "We write one document 😁.\nSo do I.") // the two faces have the same high surrogate
  await all("We write one document 😁.\nSo do I.")

  await grace.click("#connect")
  await until("she is gone", async () => !(await ada.textContent("#people")).includes("Grace"), () => ada.textContent("#people"))
  await grace.locator("#text").press("Control+End")
  await grace.locator("#text").pressSequentially(" Offline.")
  await ada.evaluate(() => document.querySelector("#text").setSelectionRange(0, 0))
  await ada.locator("#text").pressSequentially("Meanwhile. ")
  await grace.click("#connect")
  await all("Meanwhile. We write one document 😁.\nSo do I. Offline.")
  const people = page => page.locator("#people span").allTextContents().then(names => names.sort())
  for (const page of pages) await until("each sees all", async () => same(await people(page), ["Ada", "Ada's tab", "Grace"]), () => people(page))
  for (const [page, name] of [[ada, "yjs"], [grace, "yjs-phone"]]) {
    await page.screenshot({path: new URL(`artifacts/example-${name}.png`, import.meta.url).pathname})
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the window")
    assert.deepEqual(page.troubles, [])
  }
})
