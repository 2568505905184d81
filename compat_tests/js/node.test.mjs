// The published npm phoenix, unchanged, in Node.

import test, {describe} from "node:test"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {Client} from "./client.mjs"
import {startProxy} from "./proxy.mjs"
import {scenarios} from "./scenarios.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"

leaveNothingBehind()

// Each client has its own network, so that it can be cut off alone.
const opener = (scope, server) => async ({user, join = {}}) => {
  const proxy = await startProxy(scope, server.port)
  const client = new Client(phoenix, {
    endpoint: proxy.endpoint,
    transport: WebSocket,
    params: {user_id: user},
    join: {user, meta: {device: `${user}'s`}, ...join},
  })
  scope.defer(() => client.close())
  return Object.assign(client, {user, kill: () => proxy.kill()})
}

describe("Node", {concurrency: 4}, () => {
  for (const [name, scenario, servers] of scenarios) {
    for (const which of servers) {
      test(`${which}: ${name}`, async t => {
        const scope = new Scope(t)
        const server = await startServer(scope, which)
        await scenario({open: opener(scope, server)})
      })
    }
  }
})
