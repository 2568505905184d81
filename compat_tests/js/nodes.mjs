// Several servers that are one cluster.

import {once} from "node:events"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {freeAddresses} from "./addresses.mjs"
import {startAlone} from "./server.mjs"
import {until} from "./wait.mjs"

const PATIENCE_MS = 90000 // a node waits for the others

/**
 * Starts `count` nodes with further arguments (`more`), and waits until each knows the others. `shared`: they share their
 * instances. A node that has ended is started again with `again`, which resolves with it when it is ready.
 */
export async function startNodes(scope, count, {shared = false, more = []} = {}) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "nodes-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const secret = path.join(folder, "cluster.secret")
  await fs.writeFile(secret, "of several nodes ".repeat(3), {mode: 0o600})
  const addresses = await freeAddresses(count)
  const routes = addresses.map(address => `nats://${address}`).join(",")
  const start = async i => {
    const node = await startAlone(scope, "mycelium", {more: [
      "--cluster-name=test", `--cluster-node=node-${i}`, `--cluster-size=${count}`, `--cluster-listen=${addresses[i]}`, `--cluster-routes=${routes}`,
      `--cluster-secret-file=${secret}`, ...(shared ? ["--cluster-instances=shared", `--data=${path.join(folder, String(i))}`] : []), ...more,
    ]})
    return Object.assign(node, {again: async () => ready(await start(i))})
  }
  return Promise.all((await Promise.all(addresses.map((_, i) => start(i)))).map(ready))
}

async function ready(node) {
  const answers = async () => (await fetch(`${node.http}/readyz`, {headers: {Connection: "close"}})).ok
  await until(`${node.http} is ready`, answers, () => node.lines, {patienceMs: PATIENCE_MS})
  return node
}
