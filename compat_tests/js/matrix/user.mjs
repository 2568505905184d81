// A user of a phoenix client of any version, with any number of channels, that records everything that happens. It runs in Node
// and in browsers; its methods take and return plain data.

const toBase64 = buffer => btoa(Array.from(new Uint8Array(buffer), byte => String.fromCharCode(byte)).join(""))
const fromBase64 = text => Uint8Array.from(atob(text), character => character.charCodeAt(0)).buffer
const describe = payload => payload instanceof ArrayBuffer ? {base64: toBase64(payload)} : payload

const ANSWERS = ["ok", "error", "timeout"]

/** Presence as a class, since 1.4; before, and in phoenix-channels, two functions and a state to keep. */
function followPresence({Presence}, channel) {
  const tells = typeof Presence === "function"
  if (tells) {
    const presence = new Presence(channel)
    return () => Presence.list(presence.state, (key, {metas}) => [key, metas])
  }
  let state = {}
  channel.on("presence_state", news => { state = Presence.syncState(state, news) })
  channel.on("presence_diff", diff => { state = Presence.syncDiff(state, diff) })
  return () => Presence.list(state, (key, {metas}) => [key, metas])
}

/** A channel, and what it received. */
class Topic {
  constructor(phoenix, socket, topic, params) {
    this.joins = [] // {status, response} of each answer to a join, those of rejoins too
    this.events = [] // {event, payload}
    this.closes = 0
    this.errors = 0
    this.channel = socket.channel(topic, params)
    this.list = followPresence(phoenix, this.channel)
    this.channel.onClose(() => { this.closes++ })
    this.channel.onError(() => { this.errors++ })
    this.channel.onMessage = (event, payload) => {
      if (!/^(phx_|chan_reply_|presence_)/.test(event)) this.events.push({event, payload: describe(payload)})
      return payload
    }
  }

  join() {
    const push = this.channel.join()
    for (const status of ANSWERS) push.receive(status, response => this.joins.push({status, response}))
  }

  snapshot() {
    const {joins, events, closes, errors} = this
    const metas = Object.fromEntries(this.list())
    const here = Object.fromEntries(this.list().map(([key, metas]) => [key, metas.length]))
    return {state: this.channel.state, joins, events, closes, errors, here, metas}
  }
}

/** `options`: endpoint, longpoll (true: from the start), and those of the client's Socket. */
export class User {
  constructor(phoenix, {endpoint, longpoll, ...options}) {
    this.phoenix = phoenix
    this.opens = 0
    this.errors = 0
    this.closes = [] // close codes of the connection
    this.heartbeats = 0 // answered on the present connection
    this.ends = [] // topics that got phx_close, which a client that has left does not report
    this.topics = {}
    this.socket = new phoenix.Socket(endpoint, longpoll ? {...options, transport: phoenix.LongPoll} : options)
    this.socket.onOpen(() => {
      this.opens++
      this.heartbeats = 0
    })
    this.socket.onError(() => { this.errors++ })
    this.socket.onClose(event => this.closes.push(event?.code))
    this.socket.onMessage(({topic, event, payload}) => {
      if (topic === "phoenix" && payload.status === "ok") this.heartbeats++
      if (event === "phx_close") this.ends.push(topic)
    })
    this.socket.connect()
  }

  /** Joins a topic under a name that the test chooses. The result is in the snapshot. */
  join(topic, params = {}, name = topic) {
    this.topics[name] = new Topic(this.phoenix, this.socket, topic, params)
    this.topics[name].join()
  }

  /** Pushes JSON; resolves with {status, response}. */
  push(name, event, payload = {}, timeout = undefined) {
    return this.answer(this.topics[name].channel.push(event, payload, timeout))
  }

  /** Pushes bytes, given as base64, as an ArrayBuffer. */
  pushBytes(name, event, base64) { return this.push(name, event, fromBase64(base64)) }

  /** Pushes JSON, and bytes, without waiting for an answer. */
  send(name, event, payload = {}) { this.topics[name].channel.push(event, payload) }
  sendBytes(name, event, base64) { this.send(name, event, fromBase64(base64)) }

  leave(name) { return this.answer(this.topics[name].channel.leave()) }

  answer(push) {
    return new Promise(resolve => {
      for (const status of ANSWERS) push.receive(status, response => resolve({status, response: describe(response)}))
    })
  }

  snapshot() {
    const {opens, errors, closes, heartbeats, ends} = this
    const topics = Object.fromEntries(Object.entries(this.topics).map(([name, topic]) => [name, topic.snapshot()]))
    const transport = this.socket.conn && (this.socket.conn.skipHeartbeat ? "longpoll" : "websocket")
    return {connected: this.socket.isConnected(), transport, opens, errors, closes, heartbeats, ends, topics}
  }

  /** Closes the connection for good. */
  close() { this.socket.disconnect() }
}
