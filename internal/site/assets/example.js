// What the example pages share: which instance they are for, the connection to it, and what to do where there is none.

import {Socket} from "./channel.js"
import {randomName, startingName} from "./identity.js"
import {copyable} from "./snippet.js"

const WORDS = {connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting", closed: "Closed"}
const PATIENCE_MS = 2500 // without a connection, until the page says what may be missing

const $ = id => document.getElementById(id)

/**
 * Opens the page of the instance in the address: start({socket, user, id}) fills it; onState(state) hears of the connection.
 * Without an instance the page says how to create one.
 */
export function openExample(start, onState = () => {}) {
  const id = new URLSearchParams(location.search).get("instance") ?? ""
  $("curl").textContent = $("curl").textContent.replaceAll("http://localhost:4000", location.origin)
  copyable($("copy"), $("curl"), $("copied"))
  $("open").addEventListener("submit", event => {
    event.preventDefault()
    location.search = new URLSearchParams({instance: $("open-id").value.trim()})
  })
  if (id === "") return showGuide("")
  for (const node of document.querySelectorAll("[data-instance]")) node.textContent = id
  $("example").hidden = false
  const socket = new Socket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket/${encodeURIComponent(id)}`, {
    onState: state => {
      showState(state)
      onState(state)
    },
  })
  const unknown = setTimeout(() => showGuide(id), PATIENCE_MS)
  function showState(state) {
    $("state").dataset.state = state
    $("state-text").textContent = WORDS[state]
    if (state !== "connected") return
    clearTimeout(unknown)
    $("guide").hidden = true
    $("example").hidden = false
  }
  const user = startingName()
  showSecond(user)
  start({socket, user, id})
  socket.connect()
  keepAwake(socket)
}

function showGuide(id) {
  $("guide").hidden = false
  $("example").hidden = true
  $("guide-why").textContent = id === ""
    ? "This page is for an instance that you create:"
    : `No instance "${id}" answers. If it does not exist, create it:`
  if (id !== "") $("open-id").value = id
}

/** The link to a second window, whose name is another one. */
function showSecond(user) {
  let name = randomName()
  while (name === user) name = randomName()
  const link = $("second")
  link.href = `${location.pathname}${location.search}#${new URLSearchParams({as: name})}`
}

function keepAwake(socket) {
  addEventListener("online", () => socket.wake())
  document.addEventListener("visibilitychange", () => { if (!document.hidden) socket.wake() })
  // A page that is kept for the back button must not look as if it were still there.
  addEventListener("pagehide", () => socket.disconnect())
  addEventListener("pageshow", event => { if (event.persisted) socket.connect() })
}

/** What the page says to whoever cannot see, and to all: the last thing that was refused or has happened. */
export function tell(text) {
  if ($("told").textContent !== text) $("told").textContent = text
}

/** The reason of a PushError as a sentence. */
export const reasonOf = error => error.response?.reason ?? (error.reason === "timeout" ? "the server did not answer" : error.reason)
