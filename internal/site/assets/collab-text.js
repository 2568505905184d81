// A text that many people edit at once: what a client of the type "collab" has to do, without a page or a socket.
//
// An operation walks through a text: [5, "new", -3] keeps 5 units, inserts "new", deletes 3 units, and keeps the rest. Units are
// UTF-16 code units, as in JavaScript's strings.

/** Returns the text after an operation. */
export function apply(text, op) {
  let at = 0
  let out = ""
  for (const part of op) {
    if (typeof part === "string") out += part
    else if (part > 0) out += text.slice(at, at += part)
    else at -= part
  }
  return out + text.slice(at)
}

function add(op, part) {
  const last = op.at(-1)
  if (part === 0 || part === "") return
  const joins = typeof part === typeof last && (typeof part === "string" || part > 0 === last > 0)
  if (joins) op[op.length - 1] += part
  else op.push(part)
}

/**
 * Returns `op` for the text after `other`, given that both were made on the same text. If both insert at the same place and
 * `otherFirst` is set, the text of `other` comes first. The server's order decides which comes first.
 */
export function rebase(op, other, otherFirst) {
  const out = []
  const mine = [...op], theirs = [...other]
  while (mine.length > 0) {
    const [a, b = Infinity] = [mine[0], theirs[0]] // an operation keeps the rest of the text
    if (typeof b === "string" && (otherFirst || typeof a !== "string")) {
      add(out, b.length)
      theirs.shift()
    } else if (typeof a === "string") {
      add(out, a)
      mine.shift()
    } else {
      const n = Math.min(Math.abs(a), Math.abs(b))
      if (b > 0) add(out, a > 0 ? n : -n) // else `other` has deleted it
      shorten(mine, n)
      shorten(theirs, n)
    }
  }
  return out
}

function shorten(op, n) {
  if (op.length === 0) return
  const left = Math.abs(op[0]) - n
  if (left === 0) op.shift()
  else op[0] = op[0] > 0 ? left : -left
}

const low = unit => unit >= 0xdc00 && unit <= 0xdfff

/** Returns the operation that turns `before` into `after` by replacing one piece. */
export function difference(before, after) {
  const most = Math.min(before.length, after.length)
  let start = 0
  while (start < most && before[start] === after[start]) start++
  let end = 0
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end++
  // A pair of surrogates is replaced as a whole, so that no character is cut in two.
  if (start > 0 && (low(before.charCodeAt(start)) || low(after.charCodeAt(start)))) start--
  if (end > 0 && (low(before.charCodeAt(before.length - end)) || low(after.charCodeAt(after.length - end)))) end--
  const op = []
  add(op, start)
  add(op, after.slice(start, after.length - end))
  add(op, -(before.length - start - end))
  return op.length === 1 && op[0] === start ? [] : op
}

/** Returns the position of a place in a text after an operation. */
export function follow(place, op) {
  let at = 0
  let moved = place
  for (const part of op) {
    if (at > place) break
    if (typeof part === "string") moved += part.length
    else if (part > 0) at += part
    else {
      moved -= Math.min(-part, place - at)
      at -= part
    }
  }
  return moved
}

const makeId = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), n => n.toString(36)).join("")

/**
 * Shared is one client's copy of a document. `local` is what its user sees. At most one operation is being sent (`sent`); later
 * edits wait. send({rev, id, op}) pushes an operation. changed(op) is called with what others did to `local`. missing(rev) is
 * called when an operation is missing, to ask for everything since rev.
 */
export class Shared {
  constructor({send, changed, missing}) {
    Object.assign(this, {send, changed, missing})
    this.rev = undefined // of base; undefined until the document has arrived
    this.base = "" // the server's text
    this.sent = null // {id, op}, on base
    this.local = ""
    this.online = false
  }

  get shadow() { return this.sent ? apply(this.base, this.sent.op) : this.base }

  /** The user has changed the text. */
  edit(text) {
    this.local = text.toWellFormed?.() ?? text // a lone surrogate cannot be sent
    this.flush()
  }

  flush() {
    if (!this.online || this.sent || this.rev === undefined) return
    const op = difference(this.base, this.local)
    if (op.length === 0) return
    this.sent = {id: makeId(), op}
    this.push()
  }

  push() { this.send({rev: this.rev, id: this.sent.id, op: this.sent.op}) }

  /** Receives an operation in the server's order, which may be our own. */
  receive(entry) {
    if (this.rev === undefined || entry.rev <= this.rev) return // it is included in the document
    if (entry.rev > this.rev + 1) return this.missing(this.rev)
    const shadow = this.shadow
    this.rev = entry.rev
    this.base = apply(this.base, entry.op)
    if (entry.id === this.sent?.id) {
      this.sent = null
      return this.flush()
    }
    let theirs = entry.op
    if (this.sent) {
      const mine = this.sent.op
      this.sent.op = rebase(mine, theirs, true)
      theirs = rebase(theirs, mine, false)
    }
    this.take(rebase(theirs, difference(shadow, this.local), false))
  }

  take(op) {
    if (op.every(part => typeof part === "number" && part > 0)) return // the typeof matters: an inserted text may look like a number
    this.local = apply(this.local, op)
    this.changed(op)
  }

  /** Receives the server's answer to a join, or to a request for missed operations. */
  catchUp({rev, ops, doc}) {
    this.online = true
    if (ops) for (const entry of ops) this.receive(entry)
    else this.replace(rev, doc)
    if (this.sent) this.push() // with the same id: if it had arrived, it would be in ops
    else this.flush()
  }

  /** Replaces the document, because we were away for longer than its log. Our own edits are applied to it as well as possible. */
  replace(rev, doc) {
    const mine = difference(this.base, this.local)
    const before = this.local
    this.local = apply(doc, rebase(mine, difference(this.base, doc), true))
    this.base = doc
    this.rev = rev
    this.sent = null
    this.changed(difference(before, this.local))
  }

  /** Called when the connection is lost: nothing is sent until catchUp. */
  offline() { this.online = false }
}
