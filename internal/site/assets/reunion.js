// After a restart of the server, everybody reconnects at a different time. A message sent before the others are back would not
// reach them, because the relay stores nothing. So a room waits a while for those who were there.

const WAIT_MS = 8000 // phoenix.js retries after 5 s at the latest, but not in a hidden tab

export class Reunion {
  /** ready() is called after each join, once the room waits for nobody. */
  constructor(ready) {
    this.ready = ready
    this.here = new Map() // name → phx_refs of those who are present
    this.before = null // the same before the connection was lost, or null
    this.awaiting = false
    this.timer = undefined
  }

  /** Called when the connection is lost. */
  lost() {
    this.end()
    if (this.before === null && this.here.size > 0) this.before = this.here
  }

  /** Called when the room is joined. Who is present is not known yet. */
  joined() {
    if (this.before === null) return this.ready()
    this.awaiting = true
    this.timer = setTimeout(() => this.settle(), WAIT_MS)
  }

  /** Called with who is present after the join. */
  sees(here) {
    this.here = here
    if (this.awaiting && (this.sameServer() || this.complete())) this.settle()
  }

  // The server still has an entry from before: it has not restarted, and those who are missing have left.
  sameServer() {
    const now = new Set([...this.here.values()].flat())
    return [...this.before.values()].flat().some(ref => now.has(ref))
  }

  complete() { return [...this.before].every(([name, refs]) => (this.here.get(name)?.length ?? 0) >= refs.length) }

  settle() {
    this.end()
    this.before = null
    this.ready()
  }

  /** Stops waiting, without calling ready. */
  end() {
    clearTimeout(this.timer)
    this.awaiting = false
  }
}
