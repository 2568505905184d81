// Long polling with npm's phoenix in each browser: what docs/compatibility.md says about closed pages, and about two sockets of a page.

import {inEachBrowser} from "./browser.mjs"
import {npmPhoenix, startPages} from "./pages.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const PAGE = `<!doctype html><meta charset="utf-8"><title>long polling</title><link rel="icon" href="data:,">
<script type="module">
  import {LongPoll, Presence, Socket} from "/phoenix.mjs"
  const sockets = window.sockets = [], presences = window.presences = []
  window.join = (endpoint, user, longpoll) => {
    const socket = new Socket(endpoint, {params: {user}, ...(longpoll && {transport: LongPoll})})
    socket.connect()
    sockets.push(socket)
    const channel = socket.channel("room:lobby", {user})
    window.presence = new Presence(channel)
    presences.push(window.presence)
    channel.join()
  }
</script>`

inEachBrowser(browserTest => {
  browserTest("long polling: a closed page is gone soon, and two sockets of a page have two sessions", async (t, open) => {
    const scope = new Scope(t)
    // Without the grace Ada would be present for 45 s, which is longer than any wait here.
    const server = await startServer(scope, "mycelium", {more: ["--check-origin=off", "--long-poll-window=30s", "--long-poll-grace=500ms"]})
    const port = await startPages(scope, {"/": ["text/html", PAGE], "/phoenix.mjs": ["text/javascript", await npmPhoenix()]})
    const visit = async () => {
      const page = await open(scope)
      await page.goto(`http://127.0.0.1:${port}/`)
      await page.waitForFunction(() => window.join)
      return page
    }
    const [grace, ada] = [await visit(), await visit()]
    const here = () => grace.evaluate(() => window.presence.list(name => name).sort())
    const sees = (...names) => until(`Grace sees ${names}`, async () => same(await here(), names), here)
    await grace.evaluate(endpoint => window.join(endpoint, "Grace", false), server.endpoint)
    await ada.evaluate(endpoint => {
      window.join(endpoint, "Ada", true)
      window.join(endpoint, "Countess", true)
    }, server.endpoint)
    await sees("Ada", "Countess", "Grace")
    // The server sees the end of a connection while a poll waits: not between two polls, nor while one is answered.
    await until("both of Ada's sockets know everybody, and poll", () => ada.evaluate(() =>
      window.presences.every(p => p.list(name => name).length === 3) && window.sockets.every(s => s.conn.reqs.size > 0)))
    await ada.goto("about:blank")
    await sees("Grace")
  })
})
