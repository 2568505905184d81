// A text that many edit at once: what a client of the type "collab" has to do, and nothing of a page or a socket.
//
// An operation is a way through a text: [5, "new", -3] keeps 5, inserts "new", deletes 3. Lengths are in UTF-16 units, as
// JavaScript's are; what an operation does not reach is kept.

/** The text after an operation. */
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
 * `op` on the text that `other` has made, both being made on the same one. `otherFirst`: where both insert at one place, the
 * other's text stands first. The server's order decides: who was first there stands first.
 */
export function rebase(op, other, otherFirst) {
  const out = []
  const mine = [...op], theirs = [...other]
  while (mine.length > 0) {
    const [a, b = Infinity] = [mine[0], theirs[0]] // at its end, an operation keeps the rest
    if (typeof b === "string" && (otherFirst || typeof a !== "string")) {
      add(out, b.length)
      theirs.shift()
    } else if (typeof a === "string") {
      add(out, a)
      mine.shift()
    } else {
      const n = Math.min(Math.abs(a), Math.abs(b))
      if (b > 0) add(out, a > 0 ? n : -n) // else it is gone already
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

/** The operation that makes `after` of `before`: one piece replaced. */
export function difference(before, after) {
  const most = Math.min(before.length, after.length)
  let start = 0
  while (start < most && before[start] === after[start]) start++
  let end = 0
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end++
  // No character is cut in two: a pair of surrogates changes as a whole.
  if (start > 0 && (low(before.charCodeAt(start)) || low(after.charCodeAt(start)))) start--
  if (end > 0 && (low(before.charCodeAt(before.length - end)) || low(after.charCodeAt(after.length - end)))) end--
  const op = []
  add(op, start)
  add(op, after.slice(start, after.length - end))
  add(op, -(before.length - start - end))
  return op.length === 1 && op[0] === start ? [] : op
}

/** Where a place in a text is after an operation. */
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
 * Shared is a document as one client has it. `local` is what its user sees; of that, one operation at a time is under way
 * (`sent`), the rest waits. send({rev, id, op}) pushes an operation; changed(op) hears what others have done to `local`;
 * missing(rev) hears that an operation did not come, and asks for what there is since.
 */
export class Shared {
  constructor({send, changed, missing}) {
    Object.assign(this, {send, changed, missing})
    this.rev = undefined // of base; undefined: nothing has come yet
    this.base = "" // the server's text
    this.sent = null // {id, op}, on base
    this.local = ""
    this.online = false
  }

  get shadow() { return this.sent ? apply(this.base, this.sent.op) : this.base }

  /** The user has changed the text. */
  edit(text) {
    this.local = text.toWellFormed?.() ?? text // half a pair of surrogates cannot be sent
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

  /** An operation of the server's order, one's own too. */
  receive(entry) {
    if (this.rev === undefined || entry.rev <= this.rev) return // what comes for it has it
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
    if (op.every(part => typeof part === "number" && part > 0)) return // a text that is a number is an insertion
    this.local = apply(this.local, op)
    this.changed(op)
  }

  /** What the server tells who has joined or has asked for what it missed. */
  catchUp({rev, ops, doc}) {
    this.online = true
    if (ops) for (const entry of ops) this.receive(entry)
    else this.replace(rev, doc)
    if (this.sent) this.push() // the same id: if it had come, it would have been among ops
    else this.flush()
  }

  /** The document anew: we were away for longer than its log. What is ours is put into it as well as may be. */
  replace(rev, doc) {
    const mine = difference(this.base, this.local)
    const before = this.local
    this.local = apply(doc, rebase(mine, difference(this.base, doc), true))
    this.base = doc
    this.rev = rev
    this.sent = null
    this.changed(difference(before, this.local))
  }

  /** The connection is gone: nothing is sent until catchUp. */
  offline() { this.online = false }
}
