// What the example pages share: which instance they are for, the connection to it, and what to do where there is none.

import {connect} from "./connection.js"
import {randomName, startingName} from "./identity.js"
import {Socket} from "./phoenix.js"
import {home, socketPath} from "./place.js"
import {copyable} from "./snippet.js"
import {explainer, STATES, WORDS} from "./why.js"

const $ = id => document.getElementById(id)

/**
 * Opens the page of the instance in the address: start({socket, user, id}) fills it. Without an instance the page says how to
 * create one.
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
  const socket = new Socket(path)
  let connected = false
  function showState(state, reason) {
    $("state").dataset.state = state
    if ($("state-text").textContent !== STATES[state]) $("state-text").textContent = STATES[state]
    if (state === "connected") {
      connected = true
      showExample(true)
    }
    // What is on the page already stays there, unless the instance is gone for good.
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
  busy: id => `The instance "${id}" takes no new connections: it is stopped, starting or busy. This page keeps trying.`,
  refused: id => `The instance "${id}" asks for a token, and this page has none. Your own client sends one in the params of its socket.`,
  blocked: id => `The instance "${id}" answers, but the WebSocket does not open. The instance may be full. ` +
    "If a proxy is in between, make it pass on WebSocket upgrades. This page keeps trying.",
}

/** Shows the example, or else the guide. */
function showExample(shown) {
  $("guide").hidden = shown
  $("example").hidden = !shown
}

/** Says why the example is not there; without an id, that this page is for an instance. */
function showGuide(id, reason) {
  showExample(false)
  $("guide-why").textContent = id === "" ? "This page is for an instance that you create:" : WHY[reason](id)
  for (const node of $("guide").children) node.hidden = node.id !== "guide-why" && id !== "" && reason !== "missing"
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
