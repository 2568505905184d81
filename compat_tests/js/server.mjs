// The servers under test, as processes. Nothing is built here: the environment names the binaries.

import {execFile, spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {fileURLToPath} from "node:url"
import {promisify} from "node:util"
import {startBesideLoad} from "./neighbour.mjs"
import {until} from "./wait.mjs"

const EXIT_MS = 20000 // shorter than the default of drain.timeout
const KEPT_LINES = 200 // lines of a server's output, for the message of a failure

const binaries = {
  mycelium: {variable: "MYCELIUM_BIN", build: "go build -o bin/mycelium ./cmd/mycelium", args: ["serve", "--listen", "127.0.0.1:0"]},
  jsapp: {variable: "MYCELIUM_JSAPP_BIN", build: "go build -o bin/jsapp ./compat_tests/jsapp", args: ["--listen", "127.0.0.1:0"]},
  labapp: {variable: "MYCELIUM_LABAPP_BIN", build: "go build -o bin/labapp ./compat_tests/labapp", args: ["-addr", "127.0.0.1:0"]},
  graphql: {variable: "MYCELIUM_GRAPHQL_BIN", build: "go build -C examples/graphql -o ../../bin/graphql .", args: ["-addr", "127.0.0.1:0"]},
  liveapp: {
    variable: "MYCELIUM_LIVEAPP_BIN", build: "go build -o bin/liveapp ./compat_tests/liveapp",
    args: ["-addr", "127.0.0.1:0", "-modules", fileURLToPath(new URL("node_modules", import.meta.url))],
  },
  yjs: {variable: "MYCELIUM_YJS_BIN", build: "go build -o bin/yjs ./examples/yjs", args: ["-addr", "127.0.0.1:0"]},
}

// A developer's own settings must not affect the server under test.
const cleanEnvironment = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MYCELIUM_")))

/**
 * Returns the address in a line of output, or undefined: {"level":"info","addr":"127.0.0.1:4000","message":"listening"}, for labapp
 * READY http://127.0.0.1:4600, or for an example INFO listening addr=127.0.0.1:4000.
 */
function listeningAddress(line) {
  const [, address] = /(?:^READY http:\/\/|\blistening addr=)(\S+)/.exec(line) ?? []
  if (address) return address
  if (!line.startsWith("{")) return undefined
  try {
    const {message, addr} = JSON.parse(line)
    return message === "listening" ? addr : undefined
  } catch {
    return undefined
  }
}

class Server {
  constructor(name, child, binary, runtime) {
    this.name = name
    this.child = child
    this.binary = binary
    this.runtime = runtime
    this.lines = []
    this.address = undefined
    this.failure = undefined
    this.killed = false
    child.on("error", error => { this.failure = error })
    for (const stream of [child.stdout, child.stderr]) this.follow(stream)
  }

  follow(stream) {
    let rest = ""
    stream.setEncoding("utf8").on("data", text => {
      const lines = (rest + text).split("\n")
      rest = lines.pop()
      for (const line of lines) {
        this.address ??= listeningAddress(line)
        this.lines.push(line)
        if (this.lines.length > KEPT_LINES) this.lines.shift()
      }
    })
  }

  get port() { return Number(this.address.split(":").at(-1)) }
  get http() { return `http://127.0.0.1:${this.port}` }
  get endpoint() { return `ws://127.0.0.1:${this.port}/socket` }

  /** The environment in which the commands of the documentation use this server. */
  get environment() {
    return {PATH: `${path.dirname(this.binary)}:${process.env.PATH}`, XDG_RUNTIME_DIR: this.runtime, MYCELIUM_SERVER: this.http}
  }

  /** The API key that the server made for itself. */
  async key() {
    this.shown ??= promisify(execFile)(this.binary, ["key", "show"], {env: this.environment})
    return (await this.shown).stdout.trim()
  }

  /** The headers of a request to the API. */
  async headers(more = {}) { return {Authorization: `Bearer ${await this.key()}`, Connection: "close", ...more} }

  /** The link that the server prints on a terminal. */
  async observer() { return `${this.http}/observer#key=${await this.key()}` }

  get ended() { return this.failure !== undefined || this.child.exitCode !== null || this.child.signalCode !== null }

  async listening() {
    await until(`${this.name} says where it listens`, () => this.address || this.ended, () => this.lines)
    if (!this.address) throw new Error(`${this.name} did not start: ${this.failure ?? `exit ${this.child.exitCode}`}\n${this.lines.join("\n")}`)
  }

  /** Kills the server, as a loss of power would. */
  async kill() {
    this.killed = true
    const exit = once(this.child, "exit")
    this.child.kill("SIGKILL")
    await exit
  }

  /** Tells the server to drain, and expects it to exit by itself. */
  async stop() {
    if (this.failure || this.killed) return
    const exit = this.ended ? undefined : once(this.child, "exit")
    const killer = setTimeout(() => this.child.kill("SIGKILL"), EXIT_MS)
    this.child.kill("SIGTERM")
    await exit
    clearTimeout(killer)
    const {exitCode, signalCode} = this.child
    if (exitCode !== 0) throw new Error(`${this.name} ended with ${signalCode ?? exitCode} after SIGTERM\n${this.lines.join("\n")}`)
  }
}

/**
 * Starts one of the servers above on a free port, with further arguments (`more`) and variables (`env`); it is
 * stopped when the scope ends. With MYCELIUM_BESIDE_LOAD in the environment it is the second node of a cluster, and the
 * first has load (neighbour.mjs).
 */
export async function startServer(scope, name = "mycelium", options = {}) {
  const {more = [], env = {}, ...unknown} = options
  if (Array.isArray(options) || !Array.isArray(more) || Object.keys(unknown).length > 0) {
    throw new Error(`startServer takes {more: [argument, …], env: {NAME: value}}, not ${JSON.stringify(options)}`)
  }
  if (!binaries[name]) throw new Error(`startServer knows ${Object.keys(binaries).join(", ")}, not ${name}`)
  if (process.env.MYCELIUM_BESIDE_LOAD) return startBesideLoad(scope, name, {more, env})
  return startAlone(scope, name, {more, env})
}

/** Starts one as startServer does, and nothing beside it. */
export async function startAlone(scope, name, {more, env = {}}) {
  const {variable, build, args} = binaries[name]
  const binary = process.env[variable]
  if (!binary) throw new Error(`${variable} is not set. In the root of the repository: ${build}; then ${variable}=$PWD/bin/${name}`)
  const runtime = await fs.mkdtemp(path.join(os.tmpdir(), `${name}-`)) // where a server leaves its key
  scope.defer(() => fs.rm(runtime, {recursive: true}))
  const child = spawn(binary, [...args, ...more], {stdio: ["ignore", "pipe", "pipe"], env: {...cleanEnvironment(), XDG_RUNTIME_DIR: runtime, ...env}})
  const server = new Server(name, child, binary, runtime)
  scope.defer(() => server.stop())
  await server.listening()
  return server
}
