// What the example pages share: which instance they are for, the connection to it, and what to do where there is none.

import {connect} from "./connection.js"
import {randomName, startingName} from "./identity.js"
import {Socket} from "./phoenix.js"
import {copyable} from "./snippet.js"

const WORDS = {connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting"}

const $ = id => document.getElementById(id)

/**
 * Opens the page of the instance in the address: start({socket, user, id}) fills it. Without an instance the page says how to
 * create one.
 */
export function openExample(start) {
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
  const socket = new Socket(`/socket/${encodeURIComponent(id)}`)
  let connected = false, asking = false
  function showState(state) {
    $("state").dataset.state = state
    $("state-text").textContent = WORDS[state]
    if (state === "reconnecting") return explain()
    if (state !== "connected") return
    connected = true
    $("guide").hidden = true
    $("example").hidden = false
  }
  // What is on the page already stays there, unless the instance is gone for good.
  async function explain() {
    if (asking) return
    asking = true
    const status = await statusOf(id)
    asking = false
    if (!socket.isConnected() && (!connected || status === 404)) showGuide(id, status)
  }
  const user = startingName()
  showSecond(user)
  start({socket, user, id})
  connect(socket, showState)
}

/** How the server answers who asks for an instance without a WebSocket; 0: it does not. A browser tells no page why a WebSocket failed. */
async function statusOf(id) {
  try {
    return (await fetch(`/socket/${encodeURIComponent(id)}`)).status
  } catch {
    return 0
  }
}

const WHY = {
  0: () => "The server does not answer. This page goes on trying.",
  404: id => `There is no instance "${id}". This creates it:`,
  503: id => `The instance "${id}" takes nobody now: it is stopped, or starting. This page goes on trying.`,
}

function showGuide(id, status) {
  $("guide").hidden = false
  $("example").hidden = true
  const why = WHY[status] ?? (() => `The instance "${id}" lets nobody in: it may be full, or want a token. This page goes on trying.`)
  $("guide-why").textContent = id === "" ? "This page is for an instance that you create:" : why(id)
  for (const node of $("guide").children) node.hidden = node.id !== "guide-why" && id !== "" && status !== 404
  if (id === "") return
  $("curl").textContent = $("curl").textContent.replace($("open-id").value, id)
  $("open-id").value = id
}

/** The link to a second window, whose name is another one. */
function showSecond(user) {
  let name = randomName()
  while (name === user) name = randomName()
  const link = $("second")
  link.href = `${location.pathname}${location.search}#${new URLSearchParams({as: name})}`
}

/** What the page says to whoever cannot see, and to all: the last thing that was refused or has happened. */
export function tell(text) {
  if ($("told").textContent !== text) $("told").textContent = text
}
