// After a restart of the server everybody comes back, each at a time of their own. What one says before the others are there,
// nobody hears: the relay keeps nothing. So a room waits for those who were there, for a while.

const WAIT_MS = 8000 // phoenix.js tries again after 5 s at the latest, but not in a hidden tab, nor when its user has gone

export class Reunion {
  /** ready() is called after each join, once nobody is waited for any more. */
  constructor(ready) {
    this.ready = ready
    this.here = new Map() // name → phx_refs, of now
    this.before = null // the same, of the time before the connection was lost; null: it was not
    this.awaiting = false
    this.timer = undefined
  }

  /** The connection is lost. */
  lost() {
    this.end()
    if (this.before === null && this.here.size > 0) this.before = this.here
  }

  /** The room is joined. Who is there is not known yet. */
  joined() {
    if (this.before === null) return this.ready()
    this.awaiting = true
    this.timer = setTimeout(() => this.settle(), WAIT_MS)
  }

  /** Who is there, since the join. */
  sees(here) {
    this.here = here
    if (this.awaiting && (this.sameServer() || this.complete())) this.settle()
  }

  // The server knows an entry of before: it has not restarted, and who is missing has left.
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

  /** Waits no longer, and calls nothing. */
  end() {
    clearTimeout(this.timer)
    this.awaiting = false
  }
}
