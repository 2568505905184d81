// A user of the published phoenix client that records everything that happens. It runs in Node and in browsers.

const toBase64 = buffer => btoa(Array.from(new Uint8Array(buffer), byte => String.fromCharCode(byte)).join(""))
const fromBase64 = text => Uint8Array.from(atob(text), character => character.charCodeAt(0)).buffer

// What goes from the browser to the test is JSON, with bytes as {base64}.
const describe = payload => payload instanceof ArrayBuffer ? {base64: toBase64(payload)} : payload

const metasOf = presence => (presence ? presence.metas.length : 0)

/**
 * Client joins one topic with an unchanged phoenix module. `options`: endpoint, params (of connect), topic, join (params),
 * transport (Node has no WebSocket of its own).
 */
export class Client {
  constructor(phoenix, {endpoint, params = {}, topic = "room:lobby", join = {}, transport}) {
    this.joins = 0 // ok replies to a join, the first and those after a lost connection
    this.closes = [] // close codes of the connection
    this.events = [] // events on the topic: {event, payload}
    this.came = [] // onJoin of Presence: {key, before, joined}, counts of metas
    this.left = [] // onLeave: {key, after, left}
    this.syncs = 0
    this.closed = false // the channel's onClose
    this.socket = new phoenix.Socket(endpoint, {params, ...(transport && {transport})})
    this.socket.onClose(event => this.closes.push(event.code))
    this.channel = this.socket.channel(topic, join)
    this.presence = new phoenix.Presence(this.channel)
    this.record()
    this.socket.connect()
    this.channel.join().receive("ok", () => { this.joins++ })
  }

  record() {
    const {channel, presence} = this
    channel.onClose(() => { this.closed = true })
    channel.onMessage = (event, payload) => {
      if (!/^(phx_|chan_reply_|presence_)/.test(event)) this.events.push({event, payload: describe(payload)})
      return payload
    }
    presence.onJoin((key, before, joined) => this.came.push({key, before: metasOf(before), joined: metasOf(joined)}))
    presence.onLeave((key, after, left) => this.left.push({key, after: metasOf(after), left: metasOf(left)}))
    presence.onSync(() => { this.syncs++ })
  }

  /** Returns everything seen so far, as plain data. `here` is the list of Presence once it has the state of the current join. */
  snapshot() {
    const {joins, closes, events, came, left, syncs, closed} = this
    const here = {}
    this.presence.list((key, {metas}) => { here[key] = metas.length })
    const metas = Object.fromEntries(this.presence.list((key, presence) => [key, presence.metas]))
    return {
      connected: this.socket.isConnected(), joined: this.channel.state === "joined",
      here: this.presence.inPendingSyncState() ? null : here, metas,
      joins, closes, events, came, left, syncs, closed,
    }
  }

  /** Pushes JSON; resolves with {status, response}. */
  push(event, payload) { return this.answer(this.channel.push(event, payload)) }

  /** Pushes bytes, given as base64, as an ArrayBuffer. */
  pushBytes(event, base64) { return this.push(event, fromBase64(base64)) }

  /** Leaves the topic; the connection stays. */
  leave() { return this.answer(this.channel.leave()) }

  answer(push) {
    return new Promise(resolve => {
      for (const status of ["ok", "error", "timeout"]) {
        push.receive(status, response => resolve({status, response: describe(response)}))
      }
    })
  }

  /** Ends the connection; resolves when it is closed. */
  close() { return new Promise(resolve => this.socket.disconnect(resolve)) }
}
