// A server under test as a node of a cluster whose other node has load: what its clients are used to must not change.

import {spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {WebSocket} from "ws"
import {freeAddresses} from "./addresses.mjs"
import {startAlone} from "./server.mjs"
import {until} from "./wait.mjs"

// The topics of the load, and the event as which the server broadcasts what publishers push.
const loads = {
  labapp: {topic: "echo:load", event: "shout"},
  jsapp: {topic: "room:load", event: "bench"},
  mycelium: {topic: "room:load", event: "bench"},
}

/**
 * Starts a node with load, and the server under test as a second node. When this returns, messages of the load have
 * arrived there. All end with the scope.
 */
export async function startBesideLoad(scope, name, {more, env}) {
  if (!loads[name]) return startAlone(scope, name, {more, env}) // it joins no cluster
  const [peers] = await freeAddresses(1)
  const first = await startAlone(scope, name, {more: await clusterArguments(scope, name, "first", peers)})
  await startLoad(scope, first, loads[name])
  const server = await startAlone(scope, name, {more: [...more, ...await clusterArguments(scope, name, "second", peers)], env})
  if (name === "mycelium") await ready(server, first)
  await hears(server, loads[name])
  return server
}

async function clusterArguments(scope, name, node, peers) {
  if (name !== "mycelium") return [node === "first" ? "-cluster-listen" : "-cluster-route", peers]
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "secret-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const secret = path.join(folder, "cluster.secret")
  await fs.writeFile(secret, "of two nodes ".repeat(3), {mode: 0o600})
  return [
    "--cluster-name=pair", `--cluster-node=${node}`, `--cluster-secret-file=${secret}`,
    ...(node === "first" ? [`--cluster-listen=${peers}`] : ["--cluster-listen=127.0.0.1:0", `--cluster-routes=nats://${peers}`, "--cluster-size=2"]),
  ]
}

/** Has 20 clients publish 200 messages a second until the scope ends. */
async function startLoad(scope, server, {topic, event}) {
  const binary = process.env.MYCELIUM_BIN
  if (!binary) throw new Error("MYCELIUM_BIN is not set: mycelium bench makes the load")
  const load = spawn(binary, [
    "bench", "broadcast", server.endpoint, "-c", "20", "--topics=5", `--topic=${topic}-{n}`, `--event=${event}`, "--rate=200", "--duration=1h",
  ], {stdio: "ignore"})
  const exit = once(load, "exit")
  scope.defer(async () => {
    load.kill("SIGINT")
    await exit
  })
}

/** Waits until the nodes of a cluster are ready. */
const ready = (...servers) => until("both nodes are ready", async () => {
  const answers = await Promise.all(servers.map(({http}) => fetch(`${http}/readyz`, {headers: {Connection: "close"}})))
  await Promise.all(answers.map(answer => answer.text()))
  return answers.every(({ok}) => ok)
}, () => servers.flatMap(({lines}) => lines))

/** Waits until a client of a server has received a message of the load. */
async function hears(server, {topic, event}) {
  const socket = new WebSocket(`${server.endpoint}/websocket?vsn=2.0.0`)
  await once(socket, "open")
  let heard = false
  socket.on("message", text => { heard ||= JSON.parse(text)[3] === event })
  socket.send(JSON.stringify(["1", "1", `${topic}-0`, "phx_join", {}]))
  await until("messages of the other node", () => heard, () => server.lines)
  socket.close()
  await once(socket, "close")
}
