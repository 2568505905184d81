// Where a behaviour takes place: labapp, shared by all behaviours of a client, with topics and user ids of this behaviour's own, and
// a network of its own for each user.

import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {Proxy, startProxy} from "../proxy.mjs"
import {startServer} from "../server.mjs"
import {until} from "../wait.mjs"
import {User} from "./user.mjs"

// Far above what anything takes. The slowest, phoenix 1.2.1, comes back to a channel after 3 s.
const PATIENCE_MS = 25000

export const startLab = scope => startServer(scope, "labapp")

/** Whether the server has long polling at all. */
export async function polls(server) {
  const response = await fetch(`${server.http}/socket/longpoll?vsn=2.0.0`)
  await response.arrayBuffer()
  return response.status !== 404
}

/** A proxy that breaks WebSockets alone: `refuse` answers their handshake itself, `silence` lets through nothing but the handshake. */
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

  // The answer to the handshake is on its way to the client already.
  swallow(client, upstream) {
    upstream.unpipe(client)
    upstream.resume()
  }
}

/** Lab is one behaviour's share. `openUser(options)` makes a user of the client under test, with async methods. */
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

  /** Ends all connections of a user id. The newest phoenix asks for it, whatever the client under test. */
  async disconnectUser(id) {
    const asking = new User(phoenix, {endpoint: this.server.endpoint, transport: WebSocket})
    this.scope.defer(() => asking.close())
    asking.join("exact")
    await asking.push("exact", "disconnect_user", {id})
  }

  /** A user who is connected. */
  async connected(options = {}) {
    const user = await this.open(options)
    await when(user, "is connected", ({connected, opens}) => connected && opens > 0)
    return user
  }

  /** A user who is connected and has joined a topic. */
  async joined(topic, {join = {}, ...options} = {}) {
    const user = await this.connected(options)
    await user.join(topic, join)
    await whenJoined(user, topic)
    return user
  }

  /** Alice and Bob, both on a topic. */
  async both(topic, options = {}) {
    return Promise.all(["alice", "bob"].map(name => this.joined(topic, {...options, name})))
  }
}

/** Waits until `check` holds for what the user has seen. */
export const when = (user, what, check) =>
  until(`${user.name} ${what}`, async () => check(await user.snapshot()), () => user.snapshot(),
    {patienceMs: PATIENCE_MS, pollMs: user.pollMs})

/** Waits until the topic of that name is joined, for the `times`th time at least. */
export const whenJoined = (user, name, times = 1) => when(user, `has joined ${name} (${times})`, ({topics}) =>
  topics[name].state === "joined" && topics[name].joins.filter(({status}) => status === "ok").length >= times)
