// The messages that this window sent in one room and the server has not acknowledged. They are sent again, in order, until it has.

import {PushError} from "./connection.js"

const RETRY_MS = 2000 // after a push without an answer
const SLOW_MS = 1000 // without an answer until a message is marked

// Not crypto.randomUUID: a page from another machine without TLS does not have it.
const makeId = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), n => n.toString(36)).join("")

export class Outbox {
  /** push(message) returns a promise of the answer. changed(entry) is called when the state of an entry becomes "sending", "slow", "sent", "waiting" or "refused". */
  constructor(push, changed) {
    this.push = push
    this.changed = changed
    this.entries = new Map() // id → {message, state}
    this.timer = undefined
  }

  /** Adds a message and returns its entry; flush sends it. */
  add(message) {
    const entry = {message: {...message, id: makeId()}, state: "new", reason: ""}
    this.entries.set(entry.message.id, entry)
    return entry
  }

  /** Sends the messages that wait. It is called when the room is joined, and for each new message. */
  flush() {
    clearTimeout(this.timer)
    for (const entry of this.entries.values()) {
      if (entry.state === "new" || entry.state === "waiting") this.send(entry)
    }
  }

  /** Called when the server has broadcast the message, which is as good as an answer and may come before it. */
  arrived(id) {
    const entry = this.entries.get(id)
    if (entry) this.settle(entry, "sent")
  }

  /** Shows each entry again, because what they wait for has changed. */
  show() {
    for (const entry of this.entries.values()) this.changed(entry)
  }

  retry(entry) {
    this.settle(entry, "waiting")
    this.flush()
  }

  async send(entry) {
    this.settle(entry, "sending")
    const slow = setTimeout(() => this.settle(entry, "slow"), SLOW_MS)
    try {
      await this.push(entry.message)
      this.settle(entry, "sent")
    } catch (error) {
      if (!(error instanceof PushError)) throw error
      entry.reason = error.response?.reason ?? ""
      this.settle(entry, error.reason === "error" ? "refused" : "waiting")
      if (error.reason === "timeout") this.timer = setTimeout(() => this.flush(), RETRY_MS)
    } finally {
      clearTimeout(slow)
    }
  }

  settle(entry, state) {
    if (entry.state === "sent") return
    entry.state = state
    if (state === "sent") this.entries.delete(entry.message.id)
    this.changed(entry)
  }
}

/** Returns the trouble of an entry in words, or "". `awaited` is what it waits for: "the connection is" or "the others are". */
export function troubleOf({state, reason}, awaited = "the connection is") {
  switch (state) {
    case "waiting": return `Not sent yet. It will be sent when ${awaited} back.`
    case "slow": return "Not confirmed yet."
    case "refused": return `The server rejected it${reason && `: ${reason}`}.`
    default: return ""
  }
}
