// A client, as a process of its own, whose connection is cut, and what it says.

import {spawn} from "node:child_process"
import {randomUUID} from "node:crypto"
import {once} from "node:events"
import readline from "node:readline"
import {setTimeout as pause} from "node:timers/promises"
import {until} from "../wait.mjs"
import {CUTS} from "./network.mjs"

const PATIENCE_MS = 120_000 // only failing tests wait so long
const KEPT_LINES = 50

// A session's positions are acknowledged by pongs, at most each five seconds; and the machine may be busy. After the crash of a node its clients
// are sent what is older than they are.
const ACKNOWLEDGED_MS = 60_000

const random = most => Math.random() * most

export class Traveller {
  /** inOrder: all that is published is published on one node. */
  constructor({program, way, publisher, network, topic, inOrder}) {
    Object.assign(this, {program, way, publisher, network, topic, inOrder})
    this.first = undefined // the first number that it got
    this.next = 0 // what it must get next
    this.dropped = false // since the last number that was new, it has said that it dropped messages that it had received
    this.lost = 0 // numbers that are missing because of that
    this.gaps = new Set() // earlier numbers that may still come: of several nodes, in another order
    this.waits = false // the publisher waits for it
    this.twice = 0 // numbers that came again
    this.marks = 0
    this.states = 0
    this.sinceMark = new Set() // numbers that came after the last mark
    this.again = new Set() // of these, those before the last join
    this.came = new Map() // when each number came first, for sessions
    this.cuts = {} // how often, by kind
    this.cutAt = 0
    this.faults = [] // what must not be
    this.other = [] // lines that are none of these
  }

  get name() { return `${this.program.name}, ${this.way}` }

  start() {
    const {command, folder} = this.program
    this.child = spawn(command[0], command.slice(1), {
      cwd: folder, stdio: ["ignore", "pipe", "pipe"], detached: true, // with its children, which end with it
      env: {
        ...process.env, RECOVERY_URL: this.network.url, RECOVERY_TOPIC: this.topic, RECOVERY_WAY: this.way,
        RECOVERY_SESSION: randomUUID(), RECOVERY_KEY: "sb_publishable_test",
      },
    })
    this.child.on("error", error => this.faults.push(String(error)))
    this.child.on("exit", code => { if (!this.stopping) this.faults.push(`it ended with ${code}: ${this.other.join("\n")}`) })
    this.ended = once(this.child, "close").catch(() => {})
    readline.createInterface({input: this.child.stdout}).on("line", line => this.take(line))
    readline.createInterface({input: this.child.stderr}).on("line", line => this.keep(line))
  }

  keep(line) {
    this.other.push(line)
    if (this.other.length > KEPT_LINES) this.other.shift()
  }

  take(line) {
    const [word, rest] = /^(\w+) ?(.*)$/.exec(line)?.slice(1) ?? []
    if (word === "n") this.number(Number(rest))
    else if (word === "mark") {
      this.marks++
      this.sinceMark.clear()
    } else if (word === "dropped") this.dropped = true
    else if (word === "state") this.state(JSON.parse(rest))
    else this.keep(line)
  }

  state(state) {
    this.states++
    this.again = new Set(this.sinceMark)
    if (!state.recovered) this.faults.push(`not recovered: ${JSON.stringify(state)}`)
  }

  number(n) {
    this.first ??= this.next = n
    this.sinceMark.add(n)
    if (n >= this.next) {
      this.skip(n)
      this.next = n + 1
    } else if (!this.gaps.delete(n)) {
      this.twice++
      const allowed = {after: () => this.again.has(n), session: () => !this.inOrder && n < this.first || this.cutAt - this.came.get(n) < ACKNOWLEDGED_MS}[this.way]
      if (allowed && !allowed()) this.faults.push(`${n} came again`)
    }
    if (this.way === "session" && !this.came.has(n)) this.came.set(n, Date.now())
  }

  /** Notes that what precedes n has not come. */
  skip(n) {
    if (this.dropped) this.lost += n - this.next
    else {
      if (n > this.next && this.inOrder) this.faults.push(`${n} came, and not ${this.next}`)
      for (let skipped = this.next; skipped < n; skipped++) this.gaps.add(skipped)
    }
    this.dropped = false
  }

  seen() {
    const {first, next, lost, gaps, twice, marks, states, cuts, faults, other} = this
    return {sent: this.publisher.sent, first, next, lost, gaps, twice, marks, states, cuts, faults, other, connections: this.network.pairs.size, exit: this.child.exitCode}
  }

  waitFor(what, check) {
    return until(`${this.name} ${what}`, () => {
      if (this.publisher.failure) throw this.publisher.failure
      return check() || this.faults.length > 0
    }, () => this.seen(), {patienceMs: PATIENCE_MS})
  }

  /** Waits until it has something to come back with. */
  async settle() {
    await this.waitFor("gets numbers", () => this.first !== undefined && (this.way !== "after" || this.marks > 0))
    this.waits = true
  }

  /** Waits until it has what was published from now on. */
  async back() {
    const {sent} = this.publisher
    await this.waitFor("is back", () => this.next > sent)
  }

  /** Cuts its connection in a way of CUTS, or as `how` does. */
  async cut(kind, how = () => this.network.cut(kind)) {
    this.cutAt = Date.now()
    await how()
    this.cuts[kind] = (this.cuts[kind] ?? 0) + 1
  }

  /** Cuts its connection so many times, in all the ways: while it is connected, and sometimes while it connects, joins or catches up. */
  async travel(times) {
    for (let cut = 0; cut < times && this.faults.length === 0; cut++) {
      const soon = !this.program.slow && Math.random() < 0.25
      await pause(soon ? random(50) : 50 + random(250))
      const kind = CUTS[cut % CUTS.length]
      await this.cut(kind)
      if (!soon) await this.back()
    }
    await this.back()
  }

  /** Ends it, once it has all that was published. */
  async arrive() {
    await this.waitFor("has all", () => this.next >= this.publisher.sent && this.gaps.size === 0)
    this.waits = false
  }

  async stop() {
    this.stopping = true
    try { process.kill(-this.child.pid, "SIGKILL") } catch { /* it has ended */ }
    await this.ended
  }
}
