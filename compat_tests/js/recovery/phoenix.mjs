// npm's phoenix, or phoenix-channels, as a process: node phoenix.mjs PACKAGE [websocket|longpoll] [PAUSE_MS]

import {WebSocket} from "ws"
import {installBrowserGlobals} from "../matrix/globals.mjs"
import {ride} from "./rider.mjs"

const [name, transport = "websocket", pause = "20"] = process.argv.slice(2)
const {RECOVERY_URL, RECOVERY_TOPIC, RECOVERY_WAY, RECOVERY_SESSION} = process.env

installBrowserGlobals() // for versions that were written for browsers, and long polling
const module = await import(name)
const phoenix = module.Socket ? module : module.default
const again = () => Number(pause)
const options = {
  ...(name !== "phoenix-channels" && {transport: transport === "longpoll" ? phoenix.LongPoll : WebSocket}),
  reconnectAfterMs: again, rejoinAfterMs: again, heartbeatIntervalMs: 1000,
  ...(pause === "20" && {timeout: 3000}),
  logger: (kind, what) => { if (kind !== "receive") process.stderr.write(`${kind} ${what}\n`) }, // for those that fail
}
ride(phoenix, {url: `${RECOVERY_URL}/socket`, topic: RECOVERY_TOPIC, way: RECOVERY_WAY, session: RECOVERY_SESSION, options},
  line => process.stdout.write(`${line}\n`))
