// A server for Supabase's clients, and what a behaviour needs of it.

import {createHmac, randomUUID} from "node:crypto"
import {createInstance} from "../instances.mjs"
import {startServer} from "../server.mjs"
import {until} from "../wait.mjs"
import {CLIENTS} from "./clients.mjs"

const SECRET = "a-secret-of-32-bytes-at-the-least"

/** A publishable key, with which clients connect without a token. */
export const KEY = "sb_publishable_test"

const part = value => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A token of a user that lasts for so many seconds. Private channels "user-NAME…" are those of user NAME, "team…" those of all. */
export function tokenOf(user, seconds = 3600) {
  const text = `${part({alg: "HS256", typ: "JWT"})}.${part({sub: user, role: "authenticated", exp: Math.floor(Date.now() / 1000) + seconds})}`
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`
}

/** Starts a server, with an instance that has limits and one that keeps the broadcasts of private channels. */
export async function startRealtime(scope) {
  const server = await startServer(scope, "mycelium", {
    more: [
      "--dialect", "realtime", "--realtime-keys", KEY, "--auth-leeway", "0s", "--auth-socket-id", "user:{sub}",
      "--auth-join", "team*,user-{sub}*", "--auth-publish", "team*,user-{sub}*",
    ],
    env: {MYCELIUM_AUTH_SECRET: SECRET},
  })
  const limited = await createInstance(server, {
    id: "limited", type: "realtime", config: {keys: [KEY], limits: {client_presence_events: 2, channels: 1, payload_bytes: 1000}},
  })
  const kept = await createInstance(server, {id: "kept", type: "realtime", config: {keys: [KEY]}, history: [{topics: ["private:realtime:team*"]}]})
  const [limitedURL, keptURL] = [limited, kept].map(({socket_url}) => `${server.http}${new URL(socket_url).pathname}`)
  return {server, limited: limitedURL, kept: keptURL}
}

/** What a behaviour is given: a client under test and names of its own. */
export class Lab {
  constructor(scope, {server, limited, kept}, client) {
    this.scope = scope
    this.server = server
    this.limited = limited
    this.kept = kept
    this.client = client
    this.run = randomUUID().slice(0, 8)
  }

  /** A name for a channel or a user that no other behaviour has. */
  named(name) { return `${name}-${this.run}` }

  /** A user, of the client under test or of another generation of it. */
  open({key = KEY, http = `${this.server.http}/realtime/v1`, client = this.client, ...options} = {}) {
    const base = client.name.startsWith("supabase-js") && http.endsWith("/realtime/v1") ? this.server.http : http
    const user = client.open({http: base, key, ...options})
    this.scope.defer(() => user.close())
    return user
  }

  /** The newest realtime-js of the other generation. */
  get other() { return CLIENTS.find(({name, generation}) => name.startsWith("realtime-js") && generation !== this.client.generation) }

  /** A user who has subscribed to a channel. */
  async enter(name, config = {}, options = {}) {
    const seen = watch(this.open(options), name, config)
    await seen.status("SUBSCRIBED")
    return seen
  }
}

/** Subscribes to a channel and writes down what comes. */
export function watch(user, name, config = {}, {changes} = {}) {
  const channel = user.channel(name, config)
  const seen = {user, channel, statuses: [], broadcasts: [], system: [], syncs: 0}
  channel.on("broadcast", {event: "*"}, ({event, payload}) => seen.broadcasts.push({event, payload}))
  channel.on("system", {}, message => seen.system.push(message))
  if (config.presence) channel.on("presence", {event: "sync"}, () => { seen.syncs++ })
  if (changes) channel.on("postgres_changes", changes, () => {})
  channel.subscribe((status, error) => seen.statuses.push(error ? `${status}: ${error.message}` : status))
  seen.send = (event, payload, options) => channel.send({type: "broadcast", event, payload}, options)
  seen.status = (status, times = 1) => until(`${status} (${times})`,
    () => seen.statuses.filter(one => one === status || one.startsWith(`${status}: `)).length >= times, () => seen)
  seen.here = () => Object.fromEntries(Object.entries(channel.presenceState()).sort()
    .map(([key, metas]) => [key, metas.map(({presence_ref, ...meta}) => meta)]))
  return seen
}
