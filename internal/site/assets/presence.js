// Who is on a topic, kept in step with the server the way phoenix.js does it (assets/js/phoenix/presence.js):
// one presence_state after each join, then presence_diffs; diffs that come before the state of the current join wait for it.

const copy = value => JSON.parse(JSON.stringify(value))
const refs = presence => presence.metas.map(meta => meta.phx_ref)
const without = (metas, gone) => metas.filter(meta => !gone.includes(meta.phx_ref))

// Keys are chosen by users: "__proto__" and "constructor" must be keys like any other.
const bare = entries => Object.assign(Object.create(null), entries)

/**
 * Presence follows one channel. `state` is key → {metas}; `onJoin(key, before, joined)` and
 * `onLeave(key, after, left)` hear each change, `onSync()` each state and diff once it is applied.
 */
export class Presence {
  constructor(channel) {
    this.channel = channel
    this.state = bare({})
    this.joinRef = null
    this.pending = []
    this.onJoin = this.onLeave = this.onSync = () => {}
    channel.on("presence_state", state => this.receiveState(state))
    channel.on("presence_diff", diff => this.receiveDiff(diff))
  }

  receiveState(state) {
    this.joinRef = this.channel.joinRef
    this.apply(difference(this.state, bare(copy(state))))
    for (const diff of this.pending) this.apply(diff)
    this.pending = []
    this.onSync()
  }

  receiveDiff(diff) {
    if (this.joinRef === null || this.joinRef !== this.channel.joinRef) {
      this.pending.push(diff)
      return
    }
    this.apply(diff)
    this.onSync()
  }

  apply(diff) {
    const {joins, leaves} = copy(diff)
    for (const key of Object.getOwnPropertyNames(joins)) this.join(key, joins[key])
    for (const key of Object.getOwnPropertyNames(leaves)) this.leave(key, leaves[key])
  }

  join(key, joined) {
    const before = this.state[key]
    const now = copy(joined)
    if (before) now.metas.unshift(...without(before.metas, refs(joined)))
    this.state[key] = now
    this.onJoin(key, before, joined)
  }

  leave(key, left) {
    const after = this.state[key]
    if (!after) return
    after.metas = without(after.metas, refs(left))
    this.onLeave(key, after, left)
    if (after.metas.length === 0) delete this.state[key]
  }
}

// The diff that leads from one state to another: first who is gone, then, key by key, the metas that came and went.
function difference(from, to) {
  const joins = bare({}), leaves = bare({})
  for (const key of Object.getOwnPropertyNames(from)) {
    if (!to[key]) leaves[key] = from[key]
  }
  for (const key of Object.getOwnPropertyNames(to)) {
    const come = from[key] ? without(to[key].metas, refs(from[key])) : to[key].metas
    const gone = from[key] ? without(from[key].metas, refs(to[key])) : []
    if (!from[key] || come.length > 0) joins[key] = {...to[key], metas: come}
    if (gone.length > 0) leaves[key] = {...from[key], metas: gone}
  }
  return {joins, leaves}
}
