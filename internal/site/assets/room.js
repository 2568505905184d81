// A visit to a room under one name: the channel, presence and messages.

import {join, PushError, request} from "./connection.js"
import {Reunion} from "./reunion.js"
import {Presence} from "./phoenix.js"

const SEEN = 1000 // remembered ids of messages, so that a message that was sent twice is shown once
const LEAVE_MS = 2500 // somebody who is back within this, after a reload or a lost connection, has not left

const text = (value, fallback) => (typeof value === "string" ? value : value === undefined ? fallback : JSON.stringify(value))

function timeIn(at) {
  const time = new Date(typeof at === "string" || typeof at === "number" ? at : NaN)
  return Number.isNaN(time.valueOf()) ? new Date() : time
}

export class Room {
  /**
   * hooks: onMessage({user, body, at, id}), onPeople(map of name → tabs), onMoved(name, here), onWaiting() when messages have to
   * wait until others are back, onReady() when they need not, onRefused(reason), onClosed().
   */
  constructor(socket, name, user, hooks) {
    this.name = name
    this.user = user
    this.hooks = hooks
    this.seen = new Set()
    this.leaving = new Map() // name → timer of a departure that is not shown yet
    this.channel = socket.channel(`room:${name}`, {user, meta: {from: "page", since: new Date().toISOString()}})
    this.channel.on("new_msg", payload => this.receive(payload))
    this.channel.on("shout", payload => this.receive(payload))
    this.channel.onClose(why => { if (why !== "leave") hooks.onClosed() })
    this.reunion = new Reunion(() => hooks.onReady())
    this.channel.onError(() => this.reunion.lost())
    this.follow(new Presence(this.channel))
  }

  join() {
    join(this.channel, {
      joined: () => {
        this.reunion.joined()
        if (this.awaiting) this.hooks.onWaiting()
      },
      refused: reason => this.hooks.onRefused(reason),
    })
  }

  /** Whether others lost their connections too and are not back yet. The relay stores nothing for them. */
  get awaiting() { return this.reunion.awaiting }

  leave() {
    for (const timer of this.leaving.values()) clearTimeout(timer)
    this.reunion.end()
    this.channel.leave()
  }

  say(message) {
    if (this.awaiting) return Promise.reject(new PushError("disconnected"))
    return request(this.channel, "new_msg", message)
  }

  receive(payload) {
    const id = typeof payload?.id === "string" ? payload.id : undefined
    if (id !== undefined) {
      if (this.seen.has(id)) return
      this.seen.add(id)
      if (this.seen.size > SEEN) this.seen.delete(this.seen.values().next().value)
    }
    this.hooks.onMessage({
      user: text(payload?.user, "somebody").slice(0, 200),
      body: text(payload?.body, JSON.stringify(payload)),
      at: timeIn(payload?.at),
      id,
    })
  }

  follow(presence) {
    let complete = false // those who are present at first have not just come in
    presence.onJoin((name, before) => { if (complete && !before) this.came(name) })
    presence.onLeave((name, after) => { if (after.metas.length === 0) this.left(name) })
    presence.onSync(() => {
      complete = true
      this.reunion.sees(new Map(presence.list((name, {metas}) => [name, metas.map(({phx_ref}) => phx_ref)])))
      this.hooks.onPeople(new Map(presence.list((name, {metas}) => [name, metas.length])))
    })
  }

  came(name) {
    const timer = this.leaving.get(name)
    if (timer === undefined) {
      if (name !== this.user) this.hooks.onMoved(name, true)
      return
    }
    clearTimeout(timer)
    this.leaving.delete(name)
  }

  left(name) {
    if (name === this.user) return
    clearTimeout(this.leaving.get(name))
    this.leaving.set(name, setTimeout(() => {
      this.leaving.delete(name)
      this.hooks.onMoved(name, false)
    }, LEAVE_MS))
  }
}
