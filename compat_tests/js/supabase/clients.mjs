// Supabase's clients for JavaScript, as published in npm: the newest, the last whose default is version 1.0.0 of the protocol, and
// the one before it that was in use for longest.

import {createRequire} from "node:module"
import {WebSocket} from "ws"

const require = createRequire(import.meta.url)
// Node's WebSocket for browsers' code, in which nobody listens to the error of a connection that is closed while it opens.
class Transport extends WebSocket {
  constructor(...of) {
    super(...of)
    this.on("error", () => {})
  }
}

// How long a push waits for its answer: less than the end of a test file waits for timers.
const PUSH_MS = 10000

const versionOf = module => require(`${module}/package.json`).version

/** Calls f, whose timers do not keep the process: disconnect of realtime-js leaves one of 10 s behind (socketAdapter.ts). */
function withoutTimers(f) {
  const real = globalThis.setTimeout
  globalThis.setTimeout = (...of) => real(...of).unref()
  try { void f() } finally { globalThis.setTimeout = real }
}

/** What applications do with a client, in the same words for all. */
const realtimeJS = (module, generation) => {
  const {RealtimeClient} = require(module)
  return {
    name: `realtime-js ${versionOf(module)}`, generation,
    open({http, key, ...options}) {
      const client = new RealtimeClient(http.replace("http:", "ws:"), {
        params: {apikey: key}, transport: Transport, timeout: PUSH_MS, reconnectAfterMs: () => 20, ...options,
      })
      client.connect()
      return {
        channel: (name, config) => client.channel(name, {config}),
        setAuth: token => client.setAuth(token),
        close: () => withoutTimers(() => client.disconnect()),
      }
    },
  }
}

const supabaseJS = (module, generation) => {
  const {createClient} = require(module)
  return {
    name: `supabase-js ${versionOf(module)}`, generation,
    open({http, key, ...options}) {
      const client = createClient(http, key, {
        auth: {persistSession: false, autoRefreshToken: false, detectSessionInUrl: false},
        realtime: {transport: Transport, timeout: PUSH_MS, reconnectAfterMs: () => 20, ...options},
      })
      return {
        channel: (name, config) => client.channel(name, {config}),
        setAuth: token => client.realtime.setAuth(token),
        close: () => withoutTimers(() => client.realtime.disconnect()),
      }
    },
  }
}

export const CLIENTS = [
  supabaseJS("@supabase/supabase-js", 2),
  realtimeJS("@supabase/realtime-js", 2),
  realtimeJS("@supabase/realtime-js-2.90.1", 1),
  realtimeJS("@supabase/realtime-js-2.11.15", 1),
]
