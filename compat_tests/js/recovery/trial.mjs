// Clients whose connections are cut under a hundred messages a second, on one server or on three.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {setTimeout as pause} from "node:timers/promises"
import {startBalancer} from "../balancer.mjs"
import {startNodes} from "../nodes.mjs"
import {startServer} from "../server.mjs"
import {startNetwork} from "./network.mjs"
import {plain, Publisher, wrapped} from "./publisher.mjs"
import {Traveller} from "./traveller.mjs"

// late: is for clients that ask for nothing.
const RULES = `
history:
  memory: 256MiB
  rules:
    - {topics: ["late:*", "realtime:late:*"], messages: 1000, bytes: 16MiB, on_join: 1000}
    - {topics: ["room:*", "realtime:room:*"], messages: 10000, bytes: 16MiB}
`

// When a client is told that its connection is silent. Some versions of phoenix.js must not be told while they give a silent connection up: they then
// drop the next one without telling their channels (teardown in socket.js, until 1.8).
const TOLD_MS = 3000
const UNTOLD_MS = 25_000

/** The arguments of a server that keeps what is published. */
async function recording(scope, supabase) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "recovery-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const file = path.join(folder, "mycelium.yaml")
  await fs.writeFile(file, RULES)
  return ["--config", file, "--check-origin=off", ...(supabase ? ["--dialect", "realtime", "--realtime-keys", "sb_publishable_test"] : [])]
}

/** A server or several, and what is published there. */
class Trial {
  constructor(supabase, inOrder) {
    this.inOrder = inOrder
    this.publishers = Object.fromEntries(["room:1", "late:1"].map(topic =>
      [topic, new Publisher(() => this.publishing, supabase ? `realtime:${topic}` : topic, supabase ? wrapped : plain)]))
  }

  /** Begins to publish, until the scope ends. */
  publish(scope) {
    for (const publisher of Object.values(this.publishers)) publisher.start()
    scope.defer(() => this.fallSilent())
  }

  fallSilent() { return Promise.all(Object.values(this.publishers).map(publisher => publisher.stop())) }

  /** Starts a client behind a network of its own. */
  async startTraveller(scope, program, way, target) {
    const topic = way === "on_join" ? "late:1" : "room:1"
    const publisher = this.publishers[topic]
    const network = await startNetwork(scope, target, program.untold ? UNTOLD_MS : TOLD_MS)
    const traveller = new Traveller({program, way, publisher, network, topic, inOrder: this.inOrder})
    traveller.start()
    publisher.followers.push(traveller)
    scope.defer(async () => {
      traveller.waits = false
      await traveller.stop()
    })
    await traveller.settle()
    return traveller
  }
}

const check = traveller => assert.deepEqual(traveller.faults, [], `${traveller.name}: ${JSON.stringify(traveller.seen())}`)

/** One server. */
export class ServerTrial extends Trial {
  static async start(scope, supabase = false) {
    const trial = new ServerTrial(supabase, true)
    trial.publishing = await startServer(scope, "mycelium", {more: await recording(scope, supabase)})
    trial.publish(scope)
    return trial
  }

  /** Sends a client on its way. Fails if anything is missing, or comes twice that must not; returns what it has seen. */
  async travel(scope, program, way, cuts) {
    const traveller = await this.startTraveller(scope, program, way, () => this.publishing.port)
    await traveller.travel(cuts)
    await traveller.arrive()
    check(traveller)
    return traveller
  }
}

/** Three nodes. Clients are all on one, which is stopped or killed, and then on the next; what is published is published on another. */
export class NodesTrial extends Trial {
  static async start(scope, supabase = false) {
    const trial = new NodesTrial(supabase, false)
    trial.nodes = await startNodes(scope, 3, {more: await recording(scope, supabase)})
    trial.balancer = await startBalancer(scope, trial.nodes.map(({port}) => port)) // for long polling, which changes nodes with each request
    trial.home = 0
    trial.publishing = trial.nodes[2]
    trial.publish(scope)
    return trial
  }

  async board(scope, program, way) {
    const target = () => program.polls ? this.balancer.port : this.nodes[this.home].port
    return this.startTraveller(scope, program, way, target)
  }

  /**
   * Ends the node that the clients are on, by SIGTERM and SIGKILL in turns, so many times, and each time waits until all are back. Returns
   * the errors of those that something is missing for, or comes twice that must not, by traveller.
   */
  async travel(travellers, times) {
    const errors = new Map()
    const each = step => Promise.all(travellers.filter(one => !errors.has(one)).map(async traveller => {
      try {
        await step(traveller)
        check(traveller)
      } catch (error) {
        errors.set(traveller, error)
        traveller.waits = false
      }
    }))
    for (let round = 0; round < times; round++) {
      await pause(Math.random() * 500)
      const leaving = this.home
      this.home = (leaving + 1) % 3
      this.publishing = this.nodes[(leaving + 2) % 3]
      const how = round % 2 === 0 ? "stop" : "kill"
      const node = this.nodes[leaving]
      const ended = node[how]()
      await each(traveller => traveller.cut(how, () => ended))
      this.balancer.drop(node.port)
      await each(traveller => traveller.back())
      this.nodes[leaving] = await node.again()
      this.balancer.ports = this.nodes.map(({port}) => port)
    }
    await this.fallSilent() // no node is there any longer than what publishes
    await each(traveller => traveller.arrive())
    // Polls that nothing answers any more wait for ten seconds, and a node that drains would wait for them.
    await Promise.all(this.nodes.map(node => node.kill()))
    return errors
  }
}
