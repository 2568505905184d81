// Closes what a test opened, in reverse order, and checks that nothing stays open.

import {after} from "node:test"
import {until} from "./wait.mjs"

/** Scope calls the deferred functions when test `t` ends, the last one first, and reports every failure. */
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

/** Registers the last hook of a file, which checks that no process, socket, server or timer of ours is left. */
export function leaveNothingBehind() {
  after(async () => {
    try {
      // until's own timer is not counted, because it has fired when open() is called.
      await until("every process, socket and timer is closed", () => open().length === 0, open) // a client waits 10 s for an answer
    } catch (error) {
      setTimeout(() => process.exit(1), 1000).unref() // what is left would keep the file from ending, once this is reported
      throw error
    }
  })
}
