// Waiting for conditions. Nothing here sleeps for a guessed time.

import assert from "node:assert/strict"
import {setTimeout as pause} from "node:timers/promises"
import {inspect} from "node:util"

const POLL_MS = 20
// Much longer than anything takes; only failing tests wait so long. It is shorter than the 30 s after which clients notice by their
// heartbeats what the server should have told them.
const PATIENCE_MS = 25000

/** Reports whether two values are deeply equal, for waiting. */
export const same = (a, b) => { try { assert.deepEqual(a, b); return true } catch { return false } }

/**
 * until resolves with the first truthy value of `check`, which may be async. If there is none, it fails with `what` and with what
 * `seen` returns.
 */
export async function until(what, check, seen = () => undefined, {patienceMs = PATIENCE_MS, pollMs = POLL_MS} = {}) {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const value = await check()
    if (value) return value
    if (performance.now() > deadline) {
      const last = await seen()
      throw new Error(`waited ${patienceMs} ms in vain: ${what}${last === undefined ? "" : `; seen: ${inspect(last, {depth: 6})}`}`)
    }
    await pause(pollMs)
  }
}
