// The clients whose connections are cut, and the ways by which each of them gets what it missed.

import fs from "node:fs"
import {fileURLToPath} from "node:url"
import {chromium} from "../browsers/chromium.mjs"

export const WAYS = ["after", "session", "last", "since", "on_join"]

/** The notes below the table, numbered from 1. */
export const NOTES = [
  "an application cannot pass params for a join to this client",
  "this client accepts the handlers of a channel only after it has joined, and drops messages that arrive before",
]

const here = name => fileURLToPath(new URL(name, import.meta.url))
const clients = name => fileURLToPath(new URL(`../../clients/${name}`, import.meta.url))

const npm = (name, ...more) => ({name, command: [process.execPath, here("phoenix.mjs"), ...more]})
const withoutParams = {after: 1, last: 1, since: 1}

// How long these wait before they connect and join again. Without join_refs they take the end of their earlier join for that of the
// later one (note 1 in docs/compatibility.md), and join once more each time that reconnectAfterMs is over before they are connected: it
// needs a pause in which even a loaded machine connects.
const LONG_MS = "2000"

/** What `make test-clients` has built of a folder of compat_tests/clients. */
const built = (folder, file) => fs.existsSync(clients(`${folder}/${file}`)) ? undefined : `compat_tests/clients/${folder} is not built: make test-clients`

/**
 * name: in the table; command, folder: what runs it; lacks: numbers of NOTES, by the ways that it does not offer; slow: it is cut only
 * while it is connected, because a join that is lost takes it long; untold: it must
 * notice by itself that its connection is silent; polls: by long polling; supabase: it speaks Supabase's dialect; foreign: it is not npm's, and `make
 * test` has not built it; missing: why it cannot run here.
 */
export const PROGRAMS = [
  {...npm("phoenix 1.2.1", "phoenix-1.2.1", "websocket", LONG_MS), slow: true},
  npm("phoenix 1.4.17", "phoenix-1.4.17"),
  {...npm("phoenix 1.6.16", "phoenix-1.6.16"), untold: true},
  {...npm("phoenix 1.7.23", "phoenix-1.7.23"), untold: true},
  npm("phoenix 1.8.16", "phoenix"),
  {...npm("phoenix 1.8.16, long polling", "phoenix", "longpoll"), polls: true},
  {name: "phoenix 1.8.16, Chromium", command: [process.execPath, here("chromium.mjs")], missing: chromium.missing},
  {...npm("phoenix-channels 1.0.0", "phoenix-channels", "websocket", LONG_MS), slow: true},
  {
    name: "realtime-js 2.119.1", supabase: true, untold: true, command: [process.execPath, here("realtime.mjs"), "@supabase/realtime-js"],
  },
  {
    name: "JavaPhoenixClient 1.3.1", folder: clients("java"), foreign: true, missing: built("java", "target/classes"),
    command: ["mvn", "-B", "-q", "-o", "-Dstyle.color=never", "exec:java", "-Dexec.mainClass=mycelium.clients.Recovery"],
  },
  {
    name: "phoenix-channels-python-client 0.4.1", folder: clients("python"), foreign: true, missing: built("python", ".venv"),
    command: [clients("python/.venv/bin/python"), "recovery.py", "phoenix"], lacks: withoutParams,
  },
  {
    name: "realtime 2.34.1 (Python)", supabase: true, folder: clients("python"), foreign: true, missing: built("python", ".venv"),
    command: [clients("python/.venv/bin/python"), "recovery.py", "realtime"], lacks: withoutParams,
  },
  {
    name: "phoenix_channels_client 0.1.2 (Rust)", foreign: true, missing: built("rust", "target/debug/recovery"),
    command: [clients("rust/target/debug/recovery")], lacks: {...withoutParams, session: 2, on_join: 2},
  },
]
