// The page: connects the socket, the room in the address and the elements of index.html.

import {connect, PushError, reconnectAfterMs} from "./connection.js"
import {addressOf, randomName, rememberName, roomInAddress, startingName, tidyName, tidyRoom} from "./identity.js"
import {Outbox, troubleOf} from "./outbox.js"
import {People} from "./people.js"
import {Socket} from "./phoenix.js"
import {socketPath} from "./place.js"
import {Room} from "./room.js"
import {copyable, fill} from "./snippet.js"
import {Stream} from "./stream.js"
import {explainer, STATES, WORDS} from "./why.js"

const $ = id => document.getElementById(id)
const endpoint = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${socketPath}`

const stream = new Stream($("log"), $("newer"), $("welcome"))
const people = new People($("people"), $("people-list"), $("people-count"))
const outboxes = new Map() // room → Outbox, with the messages that wait until we are back in the room
const nodes = new Map() // id of a message that is being sent → its node

let user = startingName()
let room = null

const socket = new Socket(socketPath, {reconnectAfterMs})

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text // screen readers would read the same text again
}

function showState(state, reason) {
  $("state").dataset.state = state
  setText($("state-text"), STATES[state])
  $("why").hidden = reason === null
  setText($("why"), reason === null ? "" : WORDS[reason]())
}

// ---- rooms

function outboxOf(name) {
  // A retry may be due after we have changed rooms: it waits until we are back.
  const push = message => room.name === name ? room.say(message) : Promise.reject(new PushError("disconnected"))
  if (!outboxes.has(name)) outboxes.set(name, new Outbox(push, showDelivery))
  return outboxes.get(name)
}

function enter(name, as) {
  const again = room?.name === name
  room?.leave()
  if (!again) clearRoom(name)
  user = as
  room = new Room(socket, name, as, hooksOf(name))
  room.join()
  showPlace()
}

function hooksOf(name) {
  return {
    onReady: () => outboxOf(name).flush(),
    onWaiting: () => outboxOf(name).show(),
    onMessage: message => showMessage(name, message),
    onPeople: here => people.show(here, user),
    onMoved: (who, here) => stream.moved(who, here),
    onRefused: reason => stream.notice(`The server did not let us in: ${reason}. Trying again.`),
    onClosed: () => stream.notice("The server closed this room. Reload the page to come back."),
  }
}

function clearRoom(name) {
  stream.clear()
  nodes.clear()
  people.show(new Map(), user)
  for (const entry of outboxOf(name).entries.values()) showOwn(entry)
  // The name in the address was only for the start: a reload keeps the name chosen since.
  if (location.hash !== "") history.replaceState(null, "", addressOf(name))
}

function showPlace() {
  $("room").value = room.name
  $("name").value = user
  $("second").href = addressOf(room.name, otherName())
  fill({endpoint, path: socketPath, topic: `room:${room.name}`})
  document.title = room.name === "lobby" ? "mycelium" : `${room.name} · mycelium`
}

function otherName() {
  const name = randomName()
  return name === user ? otherName() : name
}

// ---- messages

function showMessage(name, message) {
  people.pulse(message.user)
  outboxOf(name).arrived(message.id)
  if (nodes.delete(message.id)) return // our own message, which is on the page already
  stream.message(message, message.user === user)
}

function showOwn(entry) {
  const {id, user: who, body, at} = entry.message
  nodes.set(id, stream.message({user: who, body, at: new Date(at)}, true))
  showDelivery(entry)
}

function showDelivery(entry) {
  const node = nodes.get(entry.message.id)
  if (!node) return
  const outbox = outboxOf(room.name)
  const trouble = troubleOf(entry, room.awaiting ? "the others are" : undefined)
  stream.mark(node, trouble, entry.state === "refused" && (() => outbox.retry(entry)))
}

function say() {
  const body = $("say").value.trim()
  if (body === "" || !room) return
  const outbox = outboxOf(room.name)
  showOwn(outbox.add({user, body, at: new Date().toISOString()}))
  outbox.flush()
  $("say").value = ""
  fit()
}

function fit() {
  const box = $("say")
  box.style.height = "auto"
  box.style.height = `${box.scrollHeight + 2}px`
}

// ---- what people do

$("composer").addEventListener("submit", event => {
  event.preventDefault()
  say()
  $("say").focus()
})

$("say").addEventListener("input", fit)
$("say").addEventListener("keydown", event => {
  // isComposing: Enter confirms a word of an input method, and does not send.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
  event.preventDefault()
  say()
})

function editable(input, tidy, current, change) {
  const commit = () => {
    const value = tidy(input.value)
    if (value !== "" && value !== current()) change(value)
    else input.value = current()
  }
  input.addEventListener("change", commit)
  input.addEventListener("keydown", event => {
    if (event.key === "Escape") input.value = current()
    if (event.key !== "Enter" || event.isComposing) return
    event.preventDefault()
    commit()
    $("say").focus()
  })
}

editable($("name"), tidyName, () => user, name => {
  rememberName(name)
  enter(room.name, name)
})
editable($("room"), tidyRoom, () => room.name, name => { location.hash = addressOf(name) })

addEventListener("hashchange", () => {
  if (roomInAddress() !== room?.name) enter(roomInAddress(), user)
})

copyable($("copy"), $("snippet"), $("copied"))
connect(socket, explainer(socket, socketPath, showState))
enter(roomInAddress(), user)
