// A TCP proxy whose connections can be killed, refused and frozen, like a bad network between a client and the server.

import {once} from "node:events"
import net from "node:net"

export class Proxy {
  constructor(target) {
    this.target = target
    this.pairs = new Set()
    this.refusing = false
    this.accepted = 0
    this.server = net.createServer(socket => this.accept(socket))
  }

  get port() { return this.server.address().port }
  get http() { return `http://127.0.0.1:${this.port}` }
  get endpoint() { return `ws://127.0.0.1:${this.port}/socket` }

  accept(client) {
    if (this.refusing) return client.resetAndDestroy()
    this.accepted++
    const upstream = net.connect(this.target, "127.0.0.1")
    join(this.pairs, client, upstream)
    client.pipe(upstream)
    upstream.pipe(client)
    return {client, upstream}
  }

  /** Kills every connection, without a WebSocket close: the client sees a reset, the server an end. */
  kill() { killPairs(this.pairs) }

  /** From now on new connections are reset, until heal. */
  refuse() { this.refusing = true }
  heal() { this.refusing = false }

  /** Freezes the open connections: they stay open, but carry nothing. */
  freeze() {
    for (const {client, upstream} of this.pairs) {
      client.unpipe(upstream)
      upstream.unpipe(client)
      client.resume()
      upstream.resume()
    }
  }

  async close() {
    this.kill()
    this.server.close()
    await once(this.server, "close")
  }
}

/** join connects two sockets. When one ends, so does the other. */
export function join(pairs, client, upstream) {
  const pair = {client, upstream}
  pairs.add(pair)
  for (const socket of [client, upstream]) {
    socket.setNoDelay(true)
    socket.on("error", () => {}) // a close event follows, which is handled
    socket.on("close", () => {
      client.destroy()
      upstream.destroy()
      pairs.delete(pair)
    })
  }
}

export function killPairs(pairs) {
  for (const {client, upstream} of pairs) {
    // If a socket is reset while its end is being sent, Node leaves it open for ever and does not exit (EINVAL in uv_tcp_close_reset).
    if (client.writableEnded) client.destroy()
    else client.resetAndDestroy()
    upstream.destroy()
  }
}

/** Starts a proxy, a new or a given one, on a free port, for the port `target`. It is closed when the scope ends. */
export async function startProxy(scope, target, proxy = new Proxy(target)) {
  proxy.server.listen(0, "127.0.0.1")
  await once(proxy.server, "listening")
  scope.defer(() => proxy.close())
  return proxy
}
