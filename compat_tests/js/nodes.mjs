// Several servers that are one cluster.

import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {startAlone} from "./server.mjs"
import {until} from "./wait.mjs"

const PATIENCE_MS = 30000 // a node waits for the others

/** Starts `count` nodes with further arguments (`more`), and waits until each knows the others. */
export async function startNodes(scope, count, more = []) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "secret-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const secret = path.join(folder, "cluster.secret")
  await fs.writeFile(secret, "of several nodes ".repeat(3), {mode: 0o600})
  const nodes = []
  for (let i = 0; i < count; i++) {
    const routes = nodes.length > 0 ? [`--cluster-routes=nats://${joiningAddress(nodes[0])}`] : []
    nodes.push(await startAlone(scope, "mycelium", {more: [
      "--cluster-name=test", `--cluster-node=node-${i}`, `--cluster-size=${count}`, "--cluster-listen=127.0.0.1:0",
      `--cluster-secret-file=${secret}`, ...routes, ...more,
    ]}))
  }
  for (const node of nodes) {
    await until(`${node.http} is ready`, async () => (await fetch(`${node.http}/readyz`, {headers: {Connection: "close"}})).ok, () => node.lines, {patienceMs: PATIENCE_MS})
  }
  return nodes
}

// Where the other nodes connect: {"addr":"127.0.0.1:6222","message":"joining"}.
const joiningAddress = node => JSON.parse(node.lines.find(line => line.includes('"joining"'))).addr
