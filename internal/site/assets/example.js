// What the example pages share: which instance they are for, the connection to it, and what to do where there is none.

import {connect} from "./connection.js"
import {randomName, startingName} from "./identity.js"
import {Socket} from "./phoenix.js"
import {copyable} from "./snippet.js"

const WORDS = {connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting"}
const PATIENCE_MS = 2500 // without a connection, until the page says what may be missing

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
  connect(socket, showState)
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

/** What the page says to whoever cannot see, and to all: the last thing that was refused or has happened. */
export function tell(text) {
  if ($("told").textContent !== text) $("told").textContent = text
}
