// What a test opened, closed again in reverse order; and the proof that nothing stayed open.

import {after} from "node:test"
import {until} from "./wait.mjs"

/** Scope closes what is deferred to it when test `t` ends, last opened first, and reports every failure to do so. */
export class Scope {
  constructor(t) {
    this.closers = []
    t.after(() => this.close())
  }

  defer(closer) { this.closers.push(closer) }

  async close() {
    const failures = []
    while (this.closers.length > 0) {
      try { await this.closers.pop()() } catch (error) { failures.push(error) }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join("\n"))
  }
}

const KINDS = ["ProcessWrap", "TCPServerWrap", "TCPSocketWrap", "TCPWrap", "Timeout"]

const open = () => process.getActiveResourcesInfo().filter(kind => KINDS.includes(kind))

/** Registers the last hook of a file, after all others: no process, socket, server or timer of ours is left. */
export function leaveNothingBehind() {
  // until's own pause is over when open() is asked, so that it is not counted.
  after(() => until("every process, socket and timer is closed", () => open().length === 0, open))
}
