// The client of npm's phoenix_live_view, unchanged, in a page in Chromium, with compat_tests/liveapp as its server.

import assert from "node:assert/strict"
import {createHash} from "node:crypto"
import {browserTest, openWindow, useBrowser} from "./browser.mjs"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

useBrowser()
leaveNothingBehind()

/** A window on a page of liveapp, whose network can be cut. */
async function open(t, path = "/") {
  const scope = new Scope(t)
  const server = await startServer(scope, "liveapp")
  const proxy = await startProxy(scope, server.port)
  const page = await openWindow(scope)
  // The client logs refusals and crashes of views.
  const wanted = /unauthorized live_redirect|unable to join|view crashed/
  scope.defer(() => assert.deepEqual(page.troubles.filter(trouble => !wanted.test(trouble)), []))
  page.on("console", message => { if (/version mismatch/.test(message.text())) page.troubles.push(message.text()) })
  await page.goto(proxy.http + path)
  return {scope, server, proxy, page}
}

const text = (page, id) => page.locator(`#${id}`).textContent()
const becomes = (page, id, wanted) => until(`#${id} is ${wanted}`, async () =>
  await page.locator(`#${id}`).count() === 1 && await text(page, id) === wanted, () => page.locator("body").innerHTML())
const connected = page => until("the view is connected", () => page.locator("#phx-main.phx-connected").count(), () => page.locator("body").innerHTML())
const comesTo = (page, url) => until(`it is at ${url}`, () => page.url() === url, () => page.url())

browserTest("phoenix_live_view: a page renders, and is patched by clicks, forms and the server", async t => {
  const {page} = await open(t, "/?page=first")
  await becomes(page, "title", "liveapp")
  await becomes(page, "page", "first")
  for (const count of ["2", "4"]) {
    await page.click("#inc")
    await becomes(page, "inc", count)
  }
  const heading = await page.locator("#title").elementHandle()
  await page.fill("#word", "<Grüße> & 你好")
  await becomes(page, "length", "18")
  await page.press("#word", "Enter")
  await becomes(page, "said", "<Grüße> & 你好")
  assert.deepEqual(await page.evaluate(() => window.heard), [{words: 1}])
  await page.click("#tick")
  await becomes(page, "ticks", "3")
  assert.ok(await heading.evaluate(node => node === document.querySelector("#title")), "what did not change is the same node")
})

browserTest("phoenix_live_view: patches of the address, and navigation within a session", async t => {
  const {page, proxy} = await open(t)
  await connected(page)
  await page.click("#inc")
  await page.click("#next")
  await becomes(page, "page", "next")
  await page.click("#turn")
  await becomes(page, "page", "turned")
  await comesTo(page, `${proxy.http}/?page=turned`)
  await page.goBack()
  await becomes(page, "page", "next")
  await becomes(page, "inc", "2")
  const accepted = proxy.accepted
  await page.click("#go")
  await becomes(page, "title", "other")
  await becomes(page, "inc", "0")
  await comesTo(page, `${proxy.http}/other`)
  assert.equal(proxy.accepted, accepted, "the socket is the same")
  await page.click("#inc")
  await becomes(page, "inc", "2")
  await page.click("#leave")
  await comesTo(page, `${proxy.http}/login`)
})

browserTest("phoenix_live_view: joins that are refused, crash and redirect", async t => {
  const {page, proxy} = await open(t, "/stale")
  await becomes(page, "title", "liveapp") // the page was loaded again
  await page.context().clearCookies()
  await page.goto(`${proxy.http}/crash`)
  await becomes(page, "title", "liveapp")
  await page.goto(`${proxy.http}/moved`)
  await comesTo(page, `${proxy.http}/login`)
  await page.goto(`${proxy.http}/moved_live`)
  await becomes(page, "title", "other")
  await comesTo(page, `${proxy.http}/other`)
  await page.click("#inc")
  await becomes(page, "inc", "2")
})

browserTest("phoenix_live_view: a crash, a lost connection and another server, and the form is recovered", async t => {
  const {scope, server, proxy, page} = await open(t)
  await connected(page)
  const mounts = () => page.evaluate(() => window.liveSocket.main.joinCount)
  await page.click("#inc")
  await becomes(page, "inc", "2")
  await page.fill("#word", "unsaved")
  await becomes(page, "length", "7")
  const again = async (count, what) => {
    await until(what, async () => await mounts() === count, mounts)
    await becomes(page, "inc", "0")
    await becomes(page, "length", "7") // the client has sent the form again
    assert.equal(await page.inputValue("#word"), "unsaved")
    await page.click("#inc")
    await becomes(page, "inc", "2")
  }
  await page.click("#crash")
  await again(2, "the view was mounted again after its crash")
  proxy.kill()
  await again(3, "it was after the connection was lost")
  await server.kill()
  proxy.target = (await startServer(scope, "liveapp")).port
  await again(4, "it was on another server")
})

browserTest("phoenix_live_view: uploads of bytes, in chunks and at once, and some that are refused", async t => {
  const {page} = await open(t)
  await connected(page)
  const file = (name, size) => ({name, mimeType: "application/octet-stream", buffer: Buffer.from(Uint8Array.from({length: size}, (_, n) => (n * 31) % 251))})
  const line = ({name, buffer}) => `${name} ${buffer.length} ${createHash("sha256").update(buffer).digest("hex")}`
  const upload = async files => {
    await page.setInputFiles("#file", files)
    const active = () => page.getAttribute("#file", "data-phx-active-refs")
    await until("the server knows the files", async () => (await active()).split(",").filter(Boolean).length === files.length, active)
    await page.click("#save")
  }
  const files = [file("large.bin", 300_000), file("small.bin", 1), file("chunk.bin", 64_000)]
  await upload(files)
  const lines = async () => (await text(page, "files")).split(", ").sort()
  await until("all have come whole", async () => same(await lines(), files.map(line).sort()), lines)
  await until("the form is done with them", async () => await page.getAttribute("#file", "data-phx-active-refs") === "")
  await upload([file("huge.bin", (1 << 20) + 1)])
  await becomes(page, "problem", "huge.bin is too large")
  assert.deepEqual(await lines(), files.map(line).sort())
  await page.reload()
  await connected(page)
  await upload([file("refused.bin", 10)])
  await becomes(page, "problem", "refused.bin failed")
  await page.click("#inc")
  await becomes(page, "inc", "2")
})
