// The back ends of examples/backends, as processes of their own, each with a new database.

import assert from "node:assert/strict"
import {execFile, spawn} from "node:child_process"
import {createHmac, randomBytes} from "node:crypto"
import {once} from "node:events"
import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {fileURLToPath} from "node:url"
import {promisify} from "node:util"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {freePort} from "./addresses.mjs"
import {startServer} from "./server.mjs"
import {until} from "./wait.mjs"

const run = promisify(execFile)

const INSTALL_MS = 300000 // pip, with an empty cache and a slow registry
const START_MS = 90000 // of a database and an interpreter, on a busy machine

const folderOf = name => fileURLToPath(new URL(`../../examples/backends/${name}`, import.meta.url))

/** A program that runs until the scope ends. */
class Program {
  static start(scope, command, args, options) {
    const p = new Program()
    p.lines = []
    p.child = spawn(command, args, {stdio: ["ignore", "pipe", "pipe"], ...options})
    p.child.on("error", error => { p.lines.push(String(error)) })
    for (const stream of [p.child.stdout, p.child.stderr]) {
      let rest = ""
      stream.setEncoding("utf8").on("data", text => {
        const lines = (rest + text).split("\n")
        rest = lines.pop()
        p.lines.push(...lines)
      })
    }
    scope.defer(() => p.stop())
    return p
  }

  get ended() { return this.child.pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null }

  /** Resolves with the match of the first line that matches. */
  async says(pattern) {
    let match
    await until(`${this.child.spawnfile} says ${pattern}`, () => {
      for (const line of this.lines) match ??= pattern.exec(line) ?? undefined
      return match || this.ended
    }, () => this.lines, {patienceMs: START_MS})
    if (!match) throw new Error(`${this.child.spawnargs.join(" ")} did not start:\n${this.lines.join("\n")}`)
    return match
  }

  async stop() {
    if (this.ended) return
    const exit = once(this.child, "exit")
    this.child.kill("SIGINT") // how a terminal and a database's administrator stop them
    const killer = setTimeout(() => this.child.kill("SIGKILL"), START_MS)
    await exit
    clearTimeout(killer)
  }
}

async function startNode(scope, env, folder) {
  const program = Program.start(scope, process.execPath, ["chat.js"], {cwd: folderOf("node"), env: {...env, PORT: "0", DATABASE: path.join(folder, "chat.db")}})
  return (await program.says(/^http:\/\/localhost:(\d+)$/))[1]
}

async function startPHP(scope, env, folder) {
  const port = await freePort() // PHP's server does not say which port it has chosen
  const program = Program.start(scope, "php", ["-S", `localhost:${port}`, "-t", "../page", "chat.php"], {cwd: folderOf("php"), env: {...env, DATABASE: path.join(folder, "chat.db")}})
  await program.says(/Development Server .* started/)
  return port
}

async function startPython(scope, env, folder) {
  const database = await startPostgres(scope, folder)
  const program = Program.start(scope, ".venv/bin/uvicorn", ["chat:app", "--port", "0"], {
    cwd: folderOf("python"), env: {...env, DATABASE_URL: `postgresql:///postgres?host=${database}&user=chat`, PYTHONDONTWRITEBYTECODE: "1"},
  })
  return (await program.says(/running on http:\/\/127\.0\.0\.1:(\d+)/))[1]
}

/** Starts PostgreSQL in a folder, on a Unix socket there, which it returns. */
async function startPostgres(scope, folder) {
  const [bin, data] = [await findPostgres(), path.join(folder, "data")]
  const nobody = process.getuid() === 0 ? {uid: 65534, gid: 65534} : {} // it refuses to run as root
  if (nobody.uid) await fs.chown(folder, nobody.uid, nobody.gid)
  const options = {...nobody, cwd: folder, env: {PATH: process.env.PATH, LC_ALL: "C"}}
  await run(path.join(bin, "initdb"), ["--auth=trust", "--username=chat", "--encoding=UTF8", "--no-sync", "-D", data], options)
  const server = Program.start(scope, path.join(bin, "postgres"), ["-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"], options)
  await server.says(/ready to accept connections/)
  return folder
}

/** Returns the folder with PostgreSQL's programs, which Debian has outside of PATH; undefined if there is none. */
async function findPostgres() {
  const debian = "/usr/lib/postgresql"
  const versions = await fs.readdir(debian).catch(() => [])
  const folders = [...process.env.PATH.split(path.delimiter), ...versions.map(version => path.join(debian, version, "bin"))]
  for (const folder of folders) {
    const initdb = await fs.realpath(path.join(folder, "initdb")).catch(() => undefined) // the other programs are beside it
    if (initdb) return path.dirname(initdb)
  }
}

/** Reports why the example in PHP cannot run here. */
async function missingPHP() {
  const modules = await run("php", ["-m"]).then(({stdout}) => stdout.split("\n"), () => undefined)
  if (!modules) return "php is not installed"
  return modules.includes("pdo_sqlite") ? undefined : "PHP has no pdo_sqlite (php-sqlite3)"
}

/** Installs the packages of the example in Python, and reports why it cannot run here. */
async function missingPython() {
  if (!await findPostgres()) return "PostgreSQL is not installed (postgresql)"
  const cwd = folderOf("python")
  const venv = await run("python3", ["-m", "venv", ".venv"], {cwd}).catch(error => error)
  if (venv instanceof Error) return `python3 -m venv: ${venv.stderr || venv.message}`
  await run(".venv/bin/pip", ["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"], {cwd, timeout: INSTALL_MS})
}

/** The examples: `rare` ones need programs that "make test" does without. `missing` prepares one, or resolves with what it lacks. */
export const backEnds = [
  {title: "Node, Express and SQLite", start: startNode, missing: async () => undefined},
  {title: "Python, FastAPI and PostgreSQL", rare: true, start: startPython, missing: missingPython},
  {title: "PHP and SQLite", rare: true, start: startPHP, missing: missingPHP},
]

const answered = push => new Promise(resolve => {
  for (const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve({status, response}))
})

/** Joins a topic once, and leaves it alone if it is refused. */
export async function join(socket, topic, params = {}) {
  const channel = socket.channel(topic, params)
  const events = []
  channel.onMessage = (event, payload) => {
    if (!/^(phx_|chan_reply_)/.test(event)) events.push({event, payload})
    return payload
  }
  const presence = new phoenix.Presence(channel)
  const reply = await answered(channel.join())
  if (reply.status !== "ok") channel.leave()
  return {
    socket, reply, events, push: (event, payload = {}) => answered(channel.push(event, payload)),
    heard: event => events.filter(e => e.event === event).map(({payload}) => payload),
    here: () => Object.fromEntries(presence.list((name, {metas: [{role, status}]}) => [name, {role, status}])),
  }
}

/** A chat: a server and the back end that it asks. */
export class Chat {
  static async start(scope, backEnd) {
    const chat = new Chat()
    chat.scope = scope
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "chat-"))
    scope.defer(() => fs.rm(folder, {recursive: true}))
    const [file, secretFile] = ["mycelium.yaml", "hooks.secret"].map(name => path.join(folder, name))
    const example = await fs.readFile(folderOf("mycelium.yaml"), "utf8")
    const configuration = example.replace("secret_file: hooks.secret", `secret_file: ${secretFile}\n    timeout: 9s # a busy machine takes its time`)
    chat.secret = randomBytes(32).toString("base64")
    await fs.writeFile(secretFile, chat.secret)
    await fs.writeFile(file, configuration)
    chat.server = await startServer(scope, "mycelium", {more: ["--config", file]})
    await chat.startBackEnd(backEnd)
    await fs.writeFile(file, configuration.replace("http://localhost:8000", chat.http))
    chat.server.child.kill("SIGHUP")
    await until("the server knows the back end", () => chat.server.lines.some(line => line.includes("configuration reloaded")), () => chat.server.lines)
    return chat
  }

  async startBackEnd(backEnd) {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "backend-"))
    this.scope.defer(() => fs.rm(folder, {recursive: true}))
    const env = {PATH: process.env.PATH, HOOK_SECRET: this.secret, MYCELIUM_SERVER: this.server.http, MYCELIUM_KEY: await this.server.key()}
    this.http = `http://localhost:${await backEnd.start(this.scope, env, folder)}`
  }

  post(path, body, headers = {}) {
    return fetch(`${this.http}/${path}`, {
      method: "POST", headers: {"content-type": "application/json", connection: "close", ...headers}, body: typeof body === "string" ? body : JSON.stringify(body),
    })
  }

  async rooms() { return (await fetch(`${this.http}/rooms`, {headers: {connection: "close"}})).json() }

  async lobby() { return (await this.rooms()).find(({topic}) => topic === "room:lobby") }

  /** Asks mycelium's API. */
  async api(path, body) {
    const headers = await this.server.headers({"content-type": "application/json"})
    const response = await fetch(`${this.server.http}/api/instances/default/${path}`, body ? {method: "POST", headers, body: JSON.stringify(body)} : {headers})
    assert.ok(response.ok, `${path}: ${response.status}`)
    return response.json()
  }

  async login(name) {
    const response = await this.post("login", {name})
    assert.equal(response.status, 200)
    return (await response.json()).token
  }

  connect(params) {
    const socket = new phoenix.Socket(this.server.endpoint, {params, transport: WebSocket, reconnectAfterMs: () => 50, rejoinAfterMs: () => 50})
    this.scope.defer(() => new Promise(resolve => socket.disconnect(resolve)))
    socket.failures = 0
    socket.onError(() => { socket.failures++ })
    socket.connect()
    return socket
  }

  async enter(name, topic = "room:lobby", params = {}) {
    const token = await this.login(name)
    return {token, ...await join(this.connect({token}), topic, params)}
  }

  /** Sends a request as mycelium signs it, or with changes. */
  hook(body, {secret = this.secret, at = Date.now() / 1000} = {}, change = {}) {
    const [id, sent] = ["msg_1", String(Math.floor(at))]
    const signature = createHmac("sha256", Buffer.from(secret, "base64")).update(`${id}.${sent}.${body}`).digest("base64")
    return this.post("mycelium", change.body ?? body, {"webhook-id": id, "webhook-timestamp": sent, "webhook-signature": `v1,${signature}`})
  }
}
