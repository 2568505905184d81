// Clients whose connections are cut under a hundred messages a second, on one server.

import assert from "node:assert/strict"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
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

/** The arguments of a server that keeps what is published. */
export async function recording(scope, supabase) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "recovery-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const file = path.join(folder, "mycelium.yaml")
  await fs.writeFile(file, RULES)
  return ["--config", file, "--check-origin=off", ...(supabase ? ["--dialect", "realtime", "--realtime-keys", "sb_publishable_test"] : [])]
}

/** A server, and what is published there. */
export class Trial {
  static async start(scope, supabase = false) {
    const trial = new Trial()
    trial.server = await startServer(scope, "mycelium", {more: await recording(scope, supabase)})
    trial.supabase = supabase
    trial.scope = scope
    trial.publishers = Object.fromEntries(["room:1", "late:1"].map(topic =>
      [topic, new Publisher(() => trial.server, supabase ? `realtime:${topic}` : topic, supabase ? wrapped : plain)]))
    for (const publisher of Object.values(trial.publishers)) {
      publisher.start()
      scope.defer(() => publisher.stop())
    }
    return trial
  }

  /** Sends a client on its way. Fails if anything is missing, or comes twice that must not; returns what it has seen. */
  async travel(scope, program, way, cuts) {
    const topic = way === "on_join" ? "late:1" : "room:1"
    const publisher = this.publishers[topic]
    const network = await startNetwork(scope, () => this.server.port)
    const traveller = new Traveller({program, way, publisher, network, topic})
    traveller.start()
    publisher.followers.push(traveller)
    scope.defer(async () => {
      traveller.waits = false
      await traveller.stop()
    })
    await traveller.settle()
    await traveller.travel(cuts)
    await traveller.arrive()
    assert.deepEqual(traveller.faults, [], `${traveller.name}: ${JSON.stringify(traveller.seen())}`)
    return traveller
  }
}
