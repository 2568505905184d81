// What the example pages share: which instance they are for, the connection to it, and what to do without one.

import {connect, reconnectAfterMs} from "./connection.js"
import {randomName, startingName} from "./identity.js"
import {Socket} from "./phoenix.js"
import {home, socketPath} from "./place.js"
import {copyable} from "./snippet.js"
import {explainer, STATES, WORDS} from "./why.js"

const $ = id => document.getElementById(id)

/**
 * Opens the page of the instance in the address, and calls start({socket, user, id}) to fill it. Without an instance the page
 * says how to create one.
 */
export function openExample(start) {
  const id = new URLSearchParams(location.search).get("instance") ?? ""
  $("curl").textContent = $("curl").textContent.replace("http://localhost:4000/", home).replaceAll("http://localhost:4000", home.origin)
  copyable($("copy"), $("curl"), $("copied"))
  $("open").addEventListener("submit", event => {
    event.preventDefault()
    location.search = new URLSearchParams({instance: $("open-id").value.trim()})
  })
  if (id === "") return showGuide("")
  for (const node of document.querySelectorAll("[data-instance]")) node.textContent = id
  showExample(true)
  const path = `${socketPath}/${encodeURIComponent(id)}`
  const socket = new Socket(path, {reconnectAfterMs})
  let connected = false
  function showState(state, reason) {
    $("state").dataset.state = state
    if ($("state-text").textContent !== STATES[state]) $("state-text").textContent = STATES[state]
    if (state === "connected") {
      connected = true
      showExample(true)
    }
    // What is on the page stays there, unless the instance does not exist.
    if (reason !== null && (!connected || reason === "missing")) showGuide(id, reason)
  }
  const user = startingName()
  showSecond(user)
  start({socket, user, id})
  connect(socket, explainer(socket, path, showState))
}

const WHY = {
  ...WORDS,
  missing: id => `There is no instance "${id}". This creates it:`,
  busy: id => `The instance "${id}" accepts no new connections: it is stopped, starting or busy. This page keeps trying.`,
  refused: id => `The instance "${id}" requires a token, and this page has none. Your own client sends one in the params of its socket.`,
  blocked: id => `The instance "${id}" answers, but the WebSocket does not open. The instance may be full. ` +
    "If there is a proxy in between, make it pass on WebSocket upgrades. This page keeps trying.",
}

/** Shows the example, or else the guide to creating an instance. */
function showExample(shown) {
  $("guide").hidden = shown
  $("example").hidden = !shown
}

/** Says why the example cannot be shown or, without an id, that this page is for an instance. */
function showGuide(id, reason) {
  showExample(false)
  $("guide-why").textContent = id === "" ? "This page needs an instance. Create one:" : WHY[reason](id)
  for (const node of $("guide").children) node.hidden = node.id !== "guide-why" && id !== "" && reason !== "missing"
  if (id === "") return
  $("curl").textContent = $("curl").textContent.replace($("open-id").value, id)
  $("open-id").value = id
}

/** Sets the link to a second window, which gets another name. */
function showSecond(user) {
  let name = randomName()
  while (name === user) name = randomName()
  const link = $("second")
  link.href = `${location.pathname}${location.search}#${new URLSearchParams({as: name})}`
}

/** Shows the last thing that happened or was refused, and has screen readers read it. */
export function tell(text) {
  if ($("told").textContent !== text) $("told").textContent = text
}
