// A TCP proxy that cuts connections in the ways in which networks do.

import {once} from "node:events"
import net from "node:net"

/**
 * reset: both sides are told. end: the connection is closed, without a WebSocket's close. torn: it is closed in the middle of what is being
 * sent. silent: nobody is told, and what either side sends goes nowhere.
 */
export const CUTS = ["reset", "end", "torn", "silent"]

const TORN_MS = 1000 // if nothing is sent for so long, the connection is reset instead
const HELD_MS = 30000 // how long the server is not told that a connection is silent

export class Network {
  /**
   * `target` returns the port for a new connection. A client that has not noticed that its connection is silent is told after silentMs, as
   * when a phone changes its network.
   */
  constructor(target, silentMs) {
    this.target = target
    this.silentMs = silentMs
    this.pairs = new Set()
    this.timers = new Set()
    this.server = net.createServer(client => this.accept(client))
  }

  get url() { return `ws://127.0.0.1:${this.server.address().port}` }

  accept(client) {
    const upstream = net.connect(this.target(), "127.0.0.1")
    const pair = {client, upstream, silent: false, tears: undefined}
    this.pairs.add(pair)
    this.forward(pair, client, upstream)
    this.forward(pair, upstream, client)
    client.on("close", () => {
      if (pair.silent) return
      upstream.destroy()
      this.pairs.delete(pair)
    })
    upstream.on("close", () => {
      if (!pair.silent) client.end()
    })
  }

  forward(pair, from, to) {
    from.setNoDelay(true)
    from.on("error", () => {}) // a close event follows
    from.on("data", chunk => {
      if (pair.silent) return
      if (pair.tears?.from === from) return this.tear(pair, to, chunk)
      if (to.write(chunk)) return
      from.pause()
      to.once("drain", () => from.resume())
    })
  }

  /** Cuts what is connected; resolves when that is done, or with false if nothing is connected. */
  async cut(kind) {
    const live = [...this.pairs].filter(({silent, client}) => !silent && !client.destroyed)
    await Promise.all(live.map(pair => this[kind](pair)))
    return live.length > 0
  }

  reset({client, upstream}) {
    // If a socket is reset while its end is being sent, Node leaves it open for ever (EINVAL in uv_tcp_close_reset).
    if (client.writableEnded) client.destroy()
    else client.resetAndDestroy()
    upstream.destroy()
  }

  end({client, upstream}) {
    client.end(() => client.destroy())
    upstream.end(() => upstream.destroy())
  }

  async torn(pair) {
    pair.tears = {from: Math.random() < 0.75 ? pair.upstream : pair.client}
    const torn = new Promise(resolve => { pair.tears.done = resolve })
    const timer = this.after(TORN_MS, pair.tears.done)
    await torn
    clearTimeout(timer)
    if (!pair.client.writableEnded) this.reset(pair)
  }

  tear(pair, to, chunk) {
    const {client, upstream} = pair
    const other = to === client ? upstream : client
    to.end(chunk.subarray(0, Math.floor(Math.random() * chunk.length)), () => to.destroy())
    other.destroy()
    pair.tears.done()
  }

  silent(pair) {
    pair.silent = true
    this.after(this.silentMs, () => this.resetOne(pair.client))
    this.after(HELD_MS, () => {
      this.resetOne(pair.upstream)
      this.pairs.delete(pair)
    })
  }

  resetOne(socket) {
    if (socket.writableEnded) socket.destroy()
    else socket.resetAndDestroy()
  }

  after(ms, run) {
    const timer = setTimeout(() => {
      this.timers.delete(timer)
      run()
    }, ms)
    this.timers.add(timer)
    return timer
  }

  async close() {
    for (const timer of this.timers) clearTimeout(timer)
    for (const {client, upstream} of this.pairs) {
      client.destroy()
      upstream.destroy()
    }
    this.server.close()
    await once(this.server, "close")
  }
}

/** Starts a network in front of the port that `target` returns. It is closed when the scope ends. */
export async function startNetwork(scope, target, silentMs) {
  const network = new Network(target, silentMs)
  network.server.listen(0, "127.0.0.1")
  await once(network.server, "listening")
  scope.defer(() => network.close())
  return network
}
