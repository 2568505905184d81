// The example of the type "chat": rooms with a backlog, presence and typing notices.

import {join, PushError, request} from "./connection.js"
import {openExample} from "./example.js"
import {addressOf, roomInAddress, tidyRoom} from "./identity.js"
import {Outbox, troubleOf} from "./outbox.js"
import {People} from "./people.js"
import {Presence} from "./phoenix.js"
import {Stream} from "./stream.js"

const TYPING_MS = 2000 // between two equal typing notices
const TYPES_MS = 4000 // after which somebody without a new notice has stopped typing

const $ = id => document.getElementById(id)

class Room {
  constructor(socket, name, user, stream, people) {
    Object.assign(this, {name, user, stream, people})
    this.last = 0 // id of the newest message on the page
    this.early = null // messages that arrived before the backlog; null once it has arrived
    this.nodes = new Map() // key of a message of ours that the server has not broadcast yet → its node
    this.typing = new Map() // name → timer
    this.channel = socket.channel(`room:${name}`, () => ({user, since: this.last})) // called for each rejoin
    this.channel.on("new_msg", message => this.early ? this.early.push(message) : this.show(message))
    this.channel.on("backlog", backlog => this.fill(backlog))
    this.channel.on("cleared", () => this.stream.clear())
    this.channel.on("typing", ({user: who, typing}) => this.types(who, typing))
    this.presence = new Presence(this.channel)
    this.presence.onSync(() => this.showPeople())
    this.outbox = new Outbox(message => this.push(message), entry => this.mark(entry))
    join(this.channel, {
      joined: () => { this.early = [] },
      refused: reason => this.stream.notice(`The room did not let us in: ${reason}.`),
    })
  }

  async push({id: key, body}) {
    if (this.early) throw new PushError("disconnected") // the backlog may have it
    return request(this.channel, "new_msg", {body, key})
  }

  fill({messages, complete}) {
    if (this.last > 0) this.tellMissed(messages.filter(({key}) => !this.nodes.has(key)).length, complete)
    const early = this.early ?? []
    this.early = null
    for (const message of [...messages, ...early]) this.show(message)
    this.outbox.flush()
  }

  /** Says what the room has sent since this page was last connected, which follows. */
  tellMissed(count, complete) {
    if (!complete) this.stream.notice("Some messages are missing here.")
    else if (count > 0) this.stream.notice(`${count === 1 ? "One message" : `${count} messages`} came while you were away`)
  }

  show(message) {
    if (message.id <= this.last) return
    this.last = message.id
    this.types(message.user, false)
    this.people.pulse(message.user)
    if (message.key) this.outbox.arrived(message.key)
    if (this.nodes.delete(message.key)) return // it is on the page already
    this.stream.message({user: message.user, body: message.body, at: new Date(message.at)}, message.user === this.user)
  }

  say(body) {
    const entry = this.outbox.add({body})
    this.nodes.set(entry.message.id, this.stream.message({user: this.user, body, at: new Date()}, true))
    this.outbox.flush()
  }

  mark(entry) {
    const node = this.nodes.get(entry.message.id)
    if (!node) return
    this.stream.mark(node, troubleOf(entry), entry.state === "refused" && (() => this.outbox.retry(entry)))
  }

  showPeople() {
    this.people.show(new Map(this.presence.list((name, {metas}) => [name, metas.length])), this.user)
  }

  types(who, typing) {
    clearTimeout(this.typing.get(who))
    this.typing.delete(who)
    if (typing) this.typing.set(who, setTimeout(() => this.types(who, false), TYPES_MS))
    const names = [...this.typing.keys()]
    $("typing").textContent = names.length === 0 ? "" : names.length < 3 ? `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} typing` : "Several people are typing"
  }

  sayTyping(typing) {
    if (typing === this.said && performance.now() - this.saidAt < TYPING_MS || !typing && !this.said) return
    Object.assign(this, {said: typing, saidAt: performance.now()})
    if (this.channel.state === "joined") this.channel.push("typing", {typing}) // nobody needs the answer
  }

  leave() {
    for (const who of [...this.typing.keys()]) this.types(who, false)
    this.channel.leave()
  }
}

openExample(({socket, user}) => {
  const stream = new Stream($("log"), $("newer"), $("welcome"))
  const people = new People($("people"), $("people-list"), $("people-count"))
  let room

  function enter(name) {
    room?.leave()
    stream.clear()
    $("room").value = name
    room = new Room(socket, name, user, stream, people)
    if (location.hash) history.replaceState(null, "", addressOf(name))
  }

  $("user").textContent = user
  $("composer").addEventListener("submit", event => {
    event.preventDefault()
    const body = $("say").value.trim()
    if (body) room.say(body)
    $("say").value = ""
    room.sayTyping(false)
    $("say").focus()
  })
  $("say").addEventListener("keydown", event => {
    // isComposing: Enter confirms a word of an input method, and does not send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
    event.preventDefault()
    $("composer").requestSubmit()
  })
  $("say").addEventListener("input", () => room.sayTyping($("say").value !== ""))
  $("room").addEventListener("change", () => enter(tidyRoom($("room").value) || room.name))
  addEventListener("hashchange", () => { if (roomInAddress() !== room.name) enter(roomInAddress()) })
  enter(roomInAddress())
})
