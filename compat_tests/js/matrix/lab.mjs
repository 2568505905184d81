// The environment of a behaviour: a labapp, which all behaviours of a client share, with topics and user ids of its own, and
// a network for each user.

import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {Proxy, startProxy} from "../proxy.mjs"
import {startServer} from "../server.mjs"
import {until} from "../wait.mjs"
import {User} from "./user.mjs"

// Much longer than anything takes. The slowest client, phoenix 1.2.1, rejoins a channel after 3 s.
const PATIENCE_MS = 25000

export const startLab = scope => startServer(scope, "labapp")

/** Reports whether the server has long polling. */
export async function polls(server) {
  const response = await fetch(`${server.http}/socket/longpoll?vsn=2.0.0`)
  await response.arrayBuffer()
  return response.status !== 404
}

/** A proxy that breaks only WebSockets: `refuse` answers their handshakes itself, and `silence` passes on nothing after the handshake. */
class BreakingProxy extends Proxy {
  constructor(target, how) {
    super(target)
    this.how = how
    this.broken = 0
    this.waiting = new Set()
  }

  accept(client) {
    this.waiting.add(client)
    client.on("error", () => {})
    client.on("close", () => this.waiting.delete(client))
    client.once("data", head => {
      const upgrade = /^GET \/\S+\/websocket\?/.test(head.toString("latin1"))
      if (upgrade) this.broken++
      if (upgrade && this.how === "refuse") return client.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      client.pause()
      client.unshift(head)
      const {upstream} = super.accept(client)
      if (upgrade) upstream.once("data", () => this.swallow(client, upstream))
    })
  }

  async close() {
    for (const client of this.waiting) client.destroy()
    await super.close()
  }

  // The answer to the handshake has been sent to the client.
  swallow(client, upstream) {
    upstream.unpipe(client)
    upstream.resume()
  }
}

/** Lab is the environment of one behaviour. `openUser(options)` makes a user of the client under test, with async methods. */
export class Lab {
  constructor(scope, server, number, offers) {
    Object.assign(this, {scope, server, number, offers})
  }

  topic(kind) { return `${kind}:${this.number}` }
  id(name) { return `${name}-${this.number}` }

  /** `options`: name, path of the socket, network (as startNetwork), and those of the client. */
  async open({name = "alice", path = "/socket", network, params = {}, ...options}) {
    const proxy = await this.startNetwork(network)
    const endpoint = `ws://127.0.0.1:${proxy.port}${path}`
    const user = await this.openUser({endpoint, params: {user_id: this.id(name), ...params}, ...options})
    this.scope.defer(() => user.close())
    return Object.assign(user, {name, proxy})
  }

  /** `broken`: undefined, "refuse" or "silence", see BreakingProxy. */
  startNetwork(broken) {
    const {port} = this.server
    return startProxy(this.scope, port, broken ? new BreakingProxy(port, broken) : new Proxy(port))
  }

  /** Closes all connections of a user id, through the newest phoenix. */
  async disconnectUser(id) {
    const asking = new User(phoenix, {endpoint: this.server.endpoint, transport: WebSocket})
    this.scope.defer(() => asking.close())
    asking.join("exact")
    await asking.push("exact", "disconnect_user", {id})
  }

  /** Returns a connected user. */
  async connected(options = {}) {
    const user = await this.open(options)
    await when(user, "is connected", ({connected, opens}) => connected && opens > 0)
    return user
  }

  /** Returns a connected user that has joined a topic. */
  async joined(topic, {join = {}, ...options} = {}) {
    const user = await this.connected(options)
    await user.join(topic, join)
    await whenJoined(user, topic)
    return user
  }

  /** Returns Alice and Bob, who have both joined a topic. */
  async both(topic, options = {}) {
    return Promise.all(["alice", "bob"].map(name => this.joined(topic, {...options, name})))
  }
}

/** Waits until `check` holds for what the user has seen. */
export const when = (user, what, check) =>
  until(`${user.name} ${what}`, async () => check(await user.snapshot()), () => user.snapshot(),
    {patienceMs: PATIENCE_MS, pollMs: user.pollMs})

/** Waits until a topic has been joined at least `times` times. */
export const whenJoined = (user, name, times = 1) => when(user, `has joined ${name} (${times})`, ({topics}) =>
  topics[name].state === "joined" && topics[name].joins.filter(({status}) => status === "ok").length >= times)
