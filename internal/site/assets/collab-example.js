// The example of the type "collab": a textarea whose text everybody edits.

import {follow, Shared} from "./collab-text.js"
import {join, reasonOf, request} from "./connection.js"
import {openExample, tell} from "./example.js"
import {hueOf} from "./identity.js"
import {Presence} from "./phoenix.js"
import {element} from "./stream.js"

const SHOWN = 12 // operations
const RETRY_MS = 2000 // after an operation that nobody answered

const $ = id => document.getElementById(id)

function colored(node, name) {
  node.style.setProperty("--hue", hueOf(name))
  return node
}

/** An operation in a few words: what it inserts and how much it deletes. */
export function inWords(op) {
  const inserts = op.filter(part => typeof part === "string").join("")
  const deletes = -op.filter(part => typeof part === "number" && part < 0).reduce((sum, part) => sum + part, 0)
  return [inserts && `+ ${JSON.stringify(inserts)}`, deletes && `− ${deletes}`].filter(Boolean).join("  ") || "no change left"
}

class Document {
  constructor(socket, user) {
    this.user = user
    this.box = $("text")
    this.shared = new Shared({send: op => this.send(op), changed: op => this.merge(op), missing: rev => this.ask(rev)})
    this.channel = socket.channel("doc", () => ({user, rev: this.shared.rev})) // a rejoin asks for what it missed
    this.channel.on("doc", state => this.catchUp(state))
    this.channel.on("op", entry => {
      this.shared.receive(entry)
      this.list(entry)
    })
    this.channel.onError(() => this.offline())
    this.presence = new Presence(this.channel)
    this.presence.onSync(() => this.showPeople())
    this.box.addEventListener("input", () => {
      this.shared.edit(this.box.value)
      this.showSaved()
    })
    join(this.channel, {refused: reason => tell(`The document did not let us in: ${reason}.`)})
  }

  offline() {
    this.shared.offline()
    this.showSaved()
  }

  catchUp(state) {
    tell("")
    this.box.disabled = false
    this.shared.catchUp(state)
    for (const entry of state.ops ?? []) this.list(entry)
    if (this.box.value !== this.shared.local) this.box.value = this.shared.local
    this.showSaved()
  }

  async send(op) {
    try {
      await request(this.channel, "op", op)
      tell("")
    } catch (error) {
      if (error.reason === "disconnected") return // the next join sends it again
      tell(`The server rejected it: ${reasonOf(error)}.`)
      setTimeout(() => this.ask(this.shared.rev), RETRY_MS)
    }
    this.showSaved()
  }

  async ask(rev) {
    try { this.catchUp(await request(this.channel, "since", {rev})) } catch { /* the next join asks */ }
  }

  /** Applies a change by others. The caret stays at its place in the text. */
  merge(op) {
    const {selectionStart: start, selectionEnd: end, selectionDirection: direction, scrollTop} = this.box
    this.box.value = this.shared.local
    this.box.setSelectionRange(follow(start, op), follow(end, op), direction)
    this.box.scrollTop = scrollTop
  }

  showSaved() {
    const waits = this.shared.sent || this.shared.local !== this.shared.base
    const text = this.shared.rev === undefined ? "" : `Revision ${this.shared.rev}${waits ? this.shared.online ? ", sending" : ", not sent yet" : ""}`
    if ($("saved").textContent !== text) $("saved").textContent = text
  }

  list({rev, user, op}) {
    const row = element("li", "")
    row.append(element("span", "rev", String(rev)), colored(element("bdi", "who", user), user), element("span", "what", inWords(op)))
    row.dataset.rev = rev
    if (Number($("ops").firstElementChild?.dataset.rev ?? 0) >= rev) return
    $("ops").prepend(row)
    while ($("ops").childElementCount > SHOWN) $("ops").lastElementChild.remove()
    this.showSaved()
  }

  showPeople() {
    const names = this.presence.list(name => name).sort((a, b) => (b === this.user) - (a === this.user) || a.localeCompare(b))
    $("people-count").textContent = String(names.length)
    $("names").replaceChildren(...names.map(name => {
      const row = colored(element("li", "person"), name)
      row.append(element("span", "dot"), element("bdi", "name", name))
      if (name === this.user) row.append(element("span", "you", "you"))
      return row
    }))
  }
}

openExample(({socket, user}) => new Document(socket, user))
