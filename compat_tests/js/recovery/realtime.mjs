// npm's realtime-js as a process: node realtime.mjs PACKAGE

import {createRequire} from "node:module"
import {WebSocket} from "ws"

const {RealtimeClient} = createRequire(import.meta.url)(process.argv[2])
const {RECOVERY_URL, RECOVERY_TOPIC, RECOVERY_WAY, RECOVERY_SESSION, RECOVERY_KEY} = process.env

// Node's WebSocket for code of browsers, in which nobody listens to the error of a connection that is closed while it opens.
class Transport extends WebSocket {
  constructor(...of) {
    super(...of)
    this.on("error", () => {})
  }
}

const say = line => process.stdout.write(`${line}\n`)

const client = new RealtimeClient(`${RECOVERY_URL}/realtime/v1`, {
  params: {apikey: RECOVERY_KEY, ...(RECOVERY_WAY === "session" && {session: RECOVERY_SESSION})},
  transport: Transport, timeout: 3000, heartbeatIntervalMs: 1000, reconnectAfterMs: () => 20,
})
const channel = client.channel(RECOVERY_TOPIC, {config: {}})
const ask = history => channel.updateJoinPayload({history})
channel.on("history_mark", {}, mark => {
  if (RECOVERY_WAY === "after") ask({after: mark.pos})
  say("mark")
})
channel.on("history_state", {}, state => say(`state ${JSON.stringify(state)}`))
channel.on("broadcast", {event: "n"}, ({payload}) => {
  if (RECOVERY_WAY === "since") ask({since: payload.at - 2000})
  say(`n ${payload.n}`)
})
const first = {after: {}, last: {last: 1000}, since: {last: 1000}}[RECOVERY_WAY]
if (first) ask(first)
channel.subscribe()
