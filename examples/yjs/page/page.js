// A text area for a Yjs text. The part of the address after the # is the document's name.

import { PhoenixChannelProvider, Socket, Y } from "./vendor.js"

const $ = id => document.getElementById(id)

const name = decodeURIComponent(location.hash.slice(1)) || "hello"
const socket = new Socket("/socket", {
  // The steps of phoenix.js, with chance, so that not everybody comes back at the same moment.
  reconnectAfterMs: tries => ([10, 50, 100, 150, 200, 250, 500, 1000, 2000][tries - 1] ?? 5000) * (0.5 + Math.random()),
})
socket.connect()

const doc = new Y.Doc()
const text = doc.getText("text")
const provider = new PhoenixChannelProvider(socket, `y_doc_room:${name}`, doc)
const { awareness } = provider
Object.assign($("name"), { textContent: name, href: `#${encodeURIComponent(name)}` })
addEventListener("hashchange", () => location.reload())

// Each edit becomes one deletion and one insertion.
const area = $("text")
const lowSurrogate = character => /^[\udc00-\udfff]$/.test(character)
area.addEventListener("input", () => {
  const before = text.toString(), after = area.value
  const shorter = Math.min(before.length, after.length)
  let start = 0
  while (start < shorter && start < area.selectionStart && before[start] === after[start]) start++
  let end = 0
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end++
  // Surrogate pairs are replaced as a whole.
  if (lowSurrogate(before[start]) || lowSurrogate(after[start])) start--
  if (lowSurrogate(before.at(-end))) end--
  doc.transact(() => {
    text.delete(start, before.length - start - end)
    text.insert(start, after.slice(start, after.length - end))
  }, area)
})

// The selection moves with the text around it when others write. Its positions are taken before each change.
const ends = ["selectionStart", "selectionEnd"]
let selected = []
doc.on("beforeTransaction", ({ origin }) => {
  if (origin !== area) selected = ends.map(end => Y.createRelativePositionFromTypeIndex(text, area[end]))
})
text.observe((event, { origin }) => {
  if (origin === area) return
  area.value = text.toString()
  const [start, end] = selected.map(position => Y.createAbsolutePositionFromRelativePosition(position, doc)?.index ?? 0)
  area.setSelectionRange(start, end)
})

// Who is here, and on which line.
const COLORS = ["#b3541e", "#1c6b4a", "#5b4bb5", "#a8326e", "#22677f", "#7a6a12"]
$("me").value = localStorage.getItem("name") ?? `Guest ${doc.clientID % 1000}`
const showMe = () => awareness.setLocalState({ name: $("me").value, color: COLORS[doc.clientID % COLORS.length], at: area.selectionStart })
$("me").addEventListener("input", () => { localStorage.setItem("name", $("me").value); showMe() })
document.addEventListener("selectionchange", showMe)
showMe()

const lineOf = index => text.toString().slice(0, index).split("\n").length
const showPeople = () => $("people").replaceChildren(...[...awareness.getStates()].map(([id, { name, color, at }]) => {
  const item = document.createElement("li")
  item.style.borderColor = color
  item.append(Object.assign(document.createElement("span"), { textContent: name }), " ")
  item.append(Object.assign(document.createElement("small"), { textContent: id === doc.clientID ? "you" : `line ${lineOf(at)}` }))
  return item
}))
awareness.on("change", showPeople)
text.observe(showPeople)
showPeople()

// Whether this window is in sync.
const showState = state => Object.assign($("state"), { textContent: state }).dataset.state = state
provider.on("status", ({ status }) => { if (status !== "connected") showState(status) })
provider.on("synced", synced => {
  if (!synced) return
  showState("connected")
  showMe() // a change, without which others who saw this client leave would not see it return
})

$("connect").addEventListener("click", () => {
  const leave = $("connect").textContent === "Disconnect"
  if (leave) {
    provider.disconnect()
    socket.disconnect(() => showState("disconnected"))
  } else {
    socket.connect()
    provider.connect()
  }
  $("connect").textContent = leave ? "Connect" : "Disconnect"
})
