// The observer's page: it joins the server's own channel and draws the samples, one every second.

import {connect, join, request} from "../assets/connection.js"
import {Socket} from "../assets/phoenix.js"
import {home} from "../assets/place.js"
import {h, $, say} from "./dom.js"
import {call, key, refusal, setKey, takeKey} from "./api.js"
import {bytes, counted, draw, short} from "./chart.js"
import {askForInstance} from "./form.js"
import {Detail} from "./detail.js"
import {showHooks} from "./hooks.js"
import {showCluster} from "./nodes.js"

const KEPT = 300 // seconds, as on the server
const PAGE = 50

const view = {find: "", state: "", type: "", sort: "messages", offset: 0, limit: PAGE}
let history = {connections: [], rates: []}
let channel
let types = []
let asking = false
let self // the name of this node in its cluster

const detail = new Detail((event, payload) => request(channel, event, payload), () => mark(null))

async function start() {
  if (!key()) return askForKey()
  try {
    const why = await refusal()
    if (why) return askForKey(why)
    types = (await call("GET", "/types")).types
  } catch (error) {
    return say(error.message)
  }
  $("main").hidden = $("create").hidden = false
  $("filter-type").append(...types.map(t => h("option", {}, t.name)))
  const socket = new Socket(`${home.pathname}observer/socket`, {authToken: key()})
  channel = socket.channel("observer")
  channel.on("sample", sample)
  join(channel, {
    joined: opening => {
      history = opening.history
      sample(opening.sample)
    },
    refused: reason => say(`the observer refuses: ${reason}`),
  })
  connect(socket, state => {
    showState(state)
    if (state === "reconnecting") checkKey(socket)
  })
}

/** A restarted server has another key, and a configured key may have been removed. */
async function checkKey(socket) {
  const why = await refusal().catch(() => "") // without an answer the socket keeps trying
  if (!why) return
  socket.disconnect()
  askForKey(why)
}

function askForKey(why) {
  setKey("")
  $("main").hidden = $("create").hidden = true
  $("ask-key").hidden = false
  $("key").focus()
  showState("closed")
  if (why) say(why)
}

$("ask-key").addEventListener("submit", event => {
  event.preventDefault()
  setKey($("key").value.trim())
  location.reload()
})

addEventListener("hashchange", () => takeKey() && location.reload())

const STATES = {connecting: "Connecting", connected: "Live", reconnecting: "Reconnecting", closed: "Not connected"}

function showState(state) {
  $("state").dataset.state = state
  $("state-text").textContent = STATES[state]
}

function sample(s) {
  history.connections = [...history.connections, s.connections].slice(-KEPT)
  history.rates = [...history.rates, s].slice(-KEPT)
  const of = name => history.rates.map(r => r[name])
  $("messages-top").textContent = draw($("messages"), [{name: "out", values: of("messages_out")}, {name: "in", values: of("messages_in")}], short)
  $("bytes-top").textContent = draw($("bytes"), [{name: "out", values: of("bytes_out")}, {name: "in", values: of("bytes_in")}], bytes)
  $("connections-top").textContent = draw($("connections"), [{name: "clients", values: history.connections}], short)
  $("messages-now").textContent = `${short(s.messages_in)} in, ${short(s.messages_out)} out`
  $("bytes-now").textContent = `${bytes(s.bytes_in)} in, ${bytes(s.bytes_out)} out`
  $("connections-now").textContent = `${short(s.connections)}, ${counted(s.channels, "channel")}`
  $("states").replaceChildren(...Object.entries(s.states).map(([state, n]) => h("span", {class: "pill", "data-state": state}, `${n} ${state}`)))
  showRecorded(s.recorded)
  showProcess(s.process)
  showCluster(s.cluster, Date.parse(s.time))
  showHooks(s.hooks)
  self = s.cluster?.nodes.find(n => n.self).name
  rows()
  detail.refresh()
}

function showFacts(list, facts) {
  list.replaceChildren(...Object.entries(facts).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))))
}

/** Shows what instances have recorded; without r nothing is. */
function showRecorded(r) {
  $("recorded").hidden = !r
  if (!r) return
  $("recorded-now").textContent = `${counted(r.messages, "message")}, ${counted(r.topics, "topic")}`
  showFacts($("recorded-facts"), {"Memory": bytes(r.bytes), "Its limit": bytes(r.memory), "Dropped for it": short(r.evicted), "Replays": short(r.replays), "Not recovered": short(r.not_recovered),
    "Sessions": `${short(r.sessions)}, ${short(r.kept_sessions)} kept`})
}

function showProcess(p) {
  $("cpu-now").textContent = `${p.cpu_percent.toFixed(0)} % of a core`
  const facts = {"Memory": bytes(p.rss_bytes), "Heap": bytes(p.heap_bytes), "Goroutines": short(p.goroutines), "Descriptors": short(p.descriptors), "Collections": short(p.gc_cycles), "Cores": p.cores}
  showFacts($("process"), facts)
}

/** Asks for the rows in view. It does not ask again while an answer is outstanding. */
async function rows() {
  if (asking) return
  asking = true
  try {
    const {rows, total} = await request(channel, "rows", view)
    if (view.offset >= total && view.offset > 0) view.offset = 0
    show(rows, total)
  } catch {
    // The next sample retries.
  } finally {
    asking = false
  }
}

function show(list, total) {
  $("total").textContent = short(total)
  $("none").hidden = total > 0
  if (list.some(i => i.node)) $("instances").classList.add("spread-out") // the nodes share their instances
  $("rows").replaceChildren(...list.map(row))
  $("pages").hidden = total <= PAGE
  $("range").textContent = `${view.offset + 1} to ${Math.min(total, view.offset + PAGE)} of ${total}`
  $("back").disabled = view.offset === 0
  $("more").disabled = view.offset + PAGE >= total
}

function row(i) {
  const elsewhere = i.node && i.node !== self // that node counts
  const number = (value, wide) => h("td", {class: wide ? "number wide" : "number"}, elsewhere ? "–" : value)
  const node = i.node ?? (i.state === "running" ? "all" : "–")
  return h("tr", {"data-id": i.id, "aria-selected": String(i.id === detail.id)},
    h("th", {scope: "row"}, h("button", {type: "button", title: i.id, onclick: () => choose(i.id)}, i.id)),
    h("td", {}, i.type), h("td", {}, h("span", {class: "pill", "data-state": i.state, title: i.reason}, i.state)),
    number(short(i.connections)), number(short(i.channels), true), number(short(i.messages_in + i.messages_out)),
    number(bytes(i.bytes_in + i.bytes_out), true), number(short(i.restarts), true), number(short(i.mailbox_high), true),
    h("td", {class: "on-node", title: node}, node))
}

function choose(id) {
  detail.open(id)
  mark(id)
}

function mark(id) {
  for (const tr of $("rows").children) tr.setAttribute("aria-selected", String(tr.dataset.id === id))
}

function look(change) {
  Object.assign(view, {offset: 0}, change)
  for (const b of document.querySelectorAll("[data-sort]")) b.closest("th").setAttribute("aria-sort", b.dataset.sort === view.sort ? (view.sort === "id" ? "ascending" : "descending") : "none")
  if (channel) rows()
}

$("find").addEventListener("input", event => look({find: event.target.value}))
$("filter-state").addEventListener("change", event => look({state: event.target.value}))
$("filter-type").addEventListener("change", event => look({type: event.target.value}))
for (const b of document.querySelectorAll("[data-sort]")) b.addEventListener("click", () => look({sort: b.dataset.sort}))
$("back").addEventListener("click", () => look({offset: Math.max(0, view.offset - PAGE)}))
$("more").addEventListener("click", () => look({offset: view.offset + PAGE}))
$("create").addEventListener("click", () => askForInstance(types, i => { say(`${i.id} is ${i.state}`); choose(i.id) }))

look({})
takeKey()
start()
