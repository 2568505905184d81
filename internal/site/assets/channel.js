// A compact client of the Phoenix Channels protocol, version 2.0.0: what this page needs of phoenix.js and no more.
// Text frames only: [join_ref, ref, topic, event, payload].

const RECONNECT_MS = [50, 100, 200, 500, 1000, 2000, 5000]
const REJOIN_MS = [1000, 2000, 5000, 10000]

const step = (steps, tries) => steps[Math.min(tries, steps.length - 1)]

// Without the random part every page would come back in the same instant after a restart of the server.
const spread = ms => ms * (0.75 + Math.random() / 2)

/** Why a push was not answered with ok. `reason` is "timeout", "disconnected", "closed" or "error". */
export class PushError extends Error {
  constructor(reason, response = {}) {
    super(reason === "error" ? JSON.stringify(response) : reason)
    this.reason = reason
    this.response = response
  }
}

/**
 * Socket is one connection that comes back by itself. `endpoint` is the address of the socket path
 * ("ws://host/socket"); `onState` hears "connecting", "connected", "reconnecting" and "closed".
 */
export class Socket {
  constructor(endpoint, options = {}) {
    const {heartbeatMs = 30000, timeoutMs = 10000, onState = () => {}, authToken, WebSocket = globalThis.WebSocket} = options
    this.url = `${endpoint}/websocket?vsn=2.0.0`
    // As phoenix.js has it: a browser can send a token in no other header.
    this.protocols = authToken ? ["phoenix", `base64url.bearer.phx.${btoa(authToken).replace(/=/g, "")}`] : []
    this.heartbeatMs = heartbeatMs
    this.timeoutMs = timeoutMs
    this.onState = onState
    this.WebSocket = WebSocket
    this.state = "closed"
    this.channels = new Set()
    this.connection = null
    this.lastRef = 0
    this.tries = 0
    this.awaitedBeat = null
    this.reconnectTimer = this.attemptTimer = this.heartbeatTimer = undefined
  }

  get connected() { return this.state === "connected" }

  connect() {
    if (this.state !== "closed") return
    this.setState("connecting")
    this.open()
  }

  disconnect() {
    this.setState("closed")
    this.drop()
  }

  /** Called when the network or the window comes back: do not wait for the next attempt or heartbeat. */
  wake() {
    if (this.connected) this.beat()
    else if (this.state === "reconnecting" && !this.connection) this.open()
  }

  channel(topic, params = {}) {
    const channel = new Channel(this, topic, params)
    this.channels.add(channel)
    return channel
  }

  makeRef() { return String(++this.lastRef) }

  send(joinRef, ref, topic, event, payload) {
    this.connection.send(JSON.stringify([joinRef, ref, topic, event, payload]))
  }

  setState(state) {
    if (this.state === state) return
    this.state = state
    this.onState(state)
  }

  open() {
    clearTimeout(this.reconnectTimer)
    const connection = new this.WebSocket(this.url, this.protocols)
    connection.binaryType = "arraybuffer"
    this.connection = connection
    // A connection that was given up may still speak: only the current one is listened to.
    const current = handle => event => { if (this.connection === connection) handle(event) }
    connection.onopen = current(() => this.opened())
    connection.onmessage = current(event => this.receive(event.data))
    connection.onclose = current(() => this.lost())
    connection.onerror = () => {} // a close event follows
    this.attemptTimer = setTimeout(() => this.lost(), this.timeoutMs)
  }

  opened() {
    clearTimeout(this.attemptTimer)
    this.tries = 0
    this.setState("connected")
    this.scheduleBeat()
    for (const channel of this.channels) channel.connectionOpened()
  }

  lost() {
    this.drop()
    if (this.state === "closed") return
    this.setState("reconnecting")
    this.reconnectTimer = setTimeout(() => this.open(), spread(step(RECONNECT_MS, this.tries++)))
  }

  drop() {
    for (const timer of [this.reconnectTimer, this.attemptTimer, this.heartbeatTimer]) clearTimeout(timer)
    this.awaitedBeat = null
    const connection = this.connection
    this.connection = null
    if (connection) connection.close()
    for (const channel of this.channels) channel.connectionLost()
  }

  scheduleBeat() {
    clearTimeout(this.heartbeatTimer)
    this.heartbeatTimer = setTimeout(() => this.beat(), this.heartbeatMs)
  }

  // A server that has not answered one heartbeat when the next is due is gone, whatever TCP says.
  beat() {
    if (this.awaitedBeat !== null) return
    this.awaitedBeat = this.makeRef()
    this.send(null, this.awaitedBeat, "phoenix", "heartbeat", {})
    clearTimeout(this.heartbeatTimer)
    this.heartbeatTimer = setTimeout(() => this.lost(), Math.min(this.heartbeatMs, this.timeoutMs))
  }

  receive(data) {
    if (typeof data !== "string") return // binary payloads are none of this page's business
    const [joinRef, ref, topic, event, payload] = JSON.parse(data)
    if (topic === "phoenix" && ref === this.awaitedBeat && ref !== null) {
      this.awaitedBeat = null
      this.scheduleBeat()
      return
    }
    for (const channel of [...this.channels]) {
      if (channel.topic === topic) channel.receive(joinRef, ref, event, payload)
    }
  }
}

/** Channel is one joined topic. It rejoins by itself until it is left or the server closes it. */
export class Channel {
  constructor(socket, topic, params) {
    this.socket = socket
    this.topic = topic
    this.params = params
    this.state = "closed" // closed, joining, joined, errored
    this.joinRef = null
    this.tries = 0
    this.rejoinTimer = undefined
    this.handlers = new Map()
    this.waiting = new Map() // ref → {resolve, reject, timer}
    this.onJoined = this.onRefused = this.onClosed = () => {}
  }

  /** Adds a handler of an event; several are called in the order they were added. */
  on(event, handler) {
    this.handlers.set(event, [...(this.handlers.get(event) ?? []), handler])
    return this
  }

  join() {
    this.state = "errored" // wanted, and not there yet
    if (this.socket.connected) this.rejoin()
    return this
  }

  /** Resolves with the response of an ok reply, rejects with a PushError. Nothing is queued. */
  push(event, payload) {
    if (this.state !== "joined") return Promise.reject(new PushError("disconnected"))
    return this.request(event, payload)
  }

  /** Leaves the topic; resolves when the server is done with it, so that a next join cannot meet this one. */
  async leave() {
    const there = this.state === "joined" || this.state === "joining"
    clearTimeout(this.rejoinTimer)
    this.state = "closed"
    this.settle("closed")
    if (there && this.socket.connected) await this.request("phx_leave", {}).catch(() => {})
    this.socket.channels.delete(this)
  }

  request(event, payload) {
    const ref = this.socket.makeRef()
    if (event === "phx_join") this.joinRef = ref
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(ref)
        reject(new PushError("timeout"))
      }, this.socket.timeoutMs)
      this.waiting.set(ref, {resolve, reject, timer})
      this.socket.send(this.joinRef, ref, this.topic, event, payload)
    })
  }

  rejoin() {
    clearTimeout(this.rejoinTimer)
    this.state = "joining"
    this.request("phx_join", this.params).then(response => this.joined(response), error => this.refused(error))
  }

  joined(response) {
    if (this.state !== "joining") return
    this.state = "joined"
    this.tries = 0
    this.onJoined(response)
  }

  refused(error) {
    if (this.state !== "joining") return
    // The server may still be about to let us in: leaving first keeps the next join from being the second.
    if (error.reason === "timeout") this.socket.send(this.joinRef, this.socket.makeRef(), this.topic, "phx_leave", {})
    this.failed()
    this.onRefused(error)
  }

  failed() {
    this.state = "errored"
    this.settle("disconnected")
    if (this.socket.connected) {
      this.rejoinTimer = setTimeout(() => this.rejoin(), spread(step(REJOIN_MS, this.tries++)))
    }
  }

  connectionOpened() {
    this.tries = 0
    if (this.state === "errored") this.rejoin()
  }

  connectionLost() {
    clearTimeout(this.rejoinTimer)
    if (this.state !== "closed") this.state = "errored"
    this.settle("disconnected")
  }

  settle(reason) {
    for (const {reject, timer} of this.waiting.values()) {
      clearTimeout(timer)
      reject(new PushError(reason))
    }
    this.waiting.clear()
  }

  receive(joinRef, ref, event, payload) {
    if (joinRef !== null && joinRef !== this.joinRef) return // of an earlier join
    if (event === "phx_reply" && ref !== null) return this.answered(ref, payload)
    if (this.state !== "joined" && this.state !== "joining") return
    if (event === "phx_error") return this.failed()
    if (event === "phx_close") return this.closed()
    for (const handler of this.handlers.get(event) ?? []) handler(payload)
  }

  answered(ref, {status, response}) {
    const waiter = this.waiting.get(ref)
    if (!waiter) return
    this.waiting.delete(ref)
    clearTimeout(waiter.timer)
    if (status === "ok") waiter.resolve(response)
    else waiter.reject(new PushError("error", response))
  }

  closed() {
    this.state = "closed"
    this.settle("closed")
    this.socket.channels.delete(this)
    this.onClosed()
  }
}
