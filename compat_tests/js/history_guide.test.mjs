// The snippets of docs/history.md for JavaScript, with the configuration that the guide begins with: what is published while a client has
// no connection comes when it is back. `make test-clients` runs the one for JavaPhoenixClient too.

import assert from "node:assert/strict"
import {execFile, spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import {createRequire} from "node:module"
import os from "node:os"
import path from "node:path"
import readline from "node:readline"
import test, {describe} from "node:test"
import {fileURLToPath} from "node:url"
import {promisify} from "node:util"
import * as phoenix from "phoenix"
import {WebSocket} from "ws"
import {startNetwork} from "./recovery/network.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {same, until} from "./wait.mjs"

leaveNothingBehind()

const KEY = "sb_publishable_test"
const SILENT_MS = 0 // nothing is cut silently
const guide = await fs.readFile(new URL("../../docs/history.md", import.meta.url), "utf8")

/** The block of code in a language that contains `part`. */
function block(language, part) {
  const found = [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(([, code]) => code).filter(code => code.includes(part))
  assert.equal(found.length, 1, `docs/history.md has one ${language} block with ${part}`)
  return found[0]
}

/** The params of a join in the guide's table that contain `part`. */
function params(part) {
  const found = [...guide.matchAll(/^\| `({"history":.*?})` \|/gm)].map(([, json]) => json).filter(json => json.includes(part))
  assert.equal(found.length, 1, `docs/history.md has one row of params with ${part}`)
  return JSON.parse(found[0])
}

/** Runs the lines of a snippet with these names, and returns the values of what they declare as `wanted`. */
const run = (code, names, ...wanted) => new Function(...Object.keys(names), `${code}\nreturn {${wanted.join(", ")}}`)(...Object.values(names))

/** A server with the guide's configuration, behind a network that can be away, and what is published on it. */
class Lab {
  static async start(t, {topics = "room:*", more = []} = {}) {
    const lab = new Lab()
    const scope = lab.scope = new Scope(t)
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "history-"))
    scope.defer(() => fs.rm(folder, {recursive: true}))
    const file = path.join(folder, "mycelium.yaml")
    await fs.writeFile(file, block("yaml", "on_join").replace("room:*", topics))
    lab.server = await startServer(scope, "mycelium", {more: ["--config", file, "--check-origin=off", ...more]})
    lab.network = await startNetwork(scope, () => lab.away ? 1 : lab.server.port, SILENT_MS)
    return lab
  }

  /** npm's Socket, for an address of this server. */
  get Socket() {
    const {network, scope} = this
    return class extends phoenix.Socket {
      constructor(address, options) {
        super(network.url + address, {transport: WebSocket, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20, ...options})
        scope.defer(() => new Promise(resolve => this.disconnect(resolve)))
      }
    }
  }

  async publish(body) {
    const headers = await this.server.headers({"Content-Type": "application/json"})
    const answer = await fetch(`${this.server.http}/api/instances/default/broadcast`, {method: "POST", headers, body: JSON.stringify(body)})
    assert.equal(answer.status, 204, await answer.text())
  }

  async say(topic, event, ...numbers) { for (const n of numbers) await this.publish({topic, event, payload: {n}}) }

  /** Cuts the connection, and lets no other be made until `meanwhile` has resolved. */
  async without(meanwhile) {
    this.away = true
    await this.network.cut("reset")
    await meanwhile()
    this.away = false
  }
}

/** Joins, and resolves with the numbers that come as `event`. */
async function joined(room, event) {
  const came = []
  room.on(event, ({n}) => came.push(n))
  await new Promise((resolve, reject) => room.join().receive("ok", resolve).receive("error", reject))
  return came
}

// The rest of the program around the snippet for Java.
const JAVA = `
import java.util.Map;
import kotlin.Unit;
import okhttp3.OkHttpClient;
import org.phoenixframework.Channel;
import org.phoenixframework.Defaults;
import org.phoenixframework.Socket;

public class Guide {
  public static void main(String[] args) {
    Socket socket = new Socket(args[0], Map.of(), Defaults.VSN, Defaults.INSTANCE.getEncode(), Defaults.INSTANCE.getDecode(), new OkHttpClient());
    socket.setReconnectAfterMs(tries -> 20L);
    socket.setRejoinAfterMs(tries -> 20L);
    SNIPPET
    room.on("history_mark", m -> say("mark"));
    room.on("n", m -> say("n " + ((Number) m.getPayload().get("n")).longValue()));
    socket.connect();
    room.join(10000);
  }

  private static synchronized Unit say(String line) {
    System.out.println(line);
    return Unit.INSTANCE;
  }
}
`

/** Runs a Java program, which ends with the scope, with the classes of compat_tests/clients/java. Returns the lines that it prints. */
async function runJava(scope, code, ...args) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "guide-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  const file = path.join(folder, "Guide.java")
  await fs.writeFile(file, code)
  const maven = ["-B", "-q", "-o", "-Dstyle.color=never", "exec:exec", "-Dexec.executable=echo", "-Dexec.args=%classpath"]
  const {stdout} = await promisify(execFile)("mvn", maven, {cwd: fileURLToPath(new URL("../clients/java", import.meta.url))})
  const child = spawn("java", ["-cp", stdout.trim(), file, ...args], {stdio: ["ignore", "pipe", "inherit"]})
  const ended = once(child, "close")
  scope.defer(() => {
    child.kill()
    return ended
  })
  const lines = []
  readline.createInterface({input: child.stdout}).on("line", line => lines.push(line))
  return lines
}

const comes = (came, ...numbers) => until(`${numbers} come`, () => same(came, numbers), () => came)

describe("docs/history.md", {concurrency: true}, () => {
  test("one parameter", async t => {
    const lab = await Lab.start(t)
    const {socket} = run(block("js", "session: crypto"), {Socket: lab.Socket, token: "", crypto}, "socket")
    socket.connect()
    const came = await joined(socket.channel("room:42", {}), "n")
    await lab.say("room:42", "n", 0)
    await comes(came, 0)
    await lab.without(() => lab.say("room:42", "n", 1, 2))
    await until("2 comes", () => came.includes(2), () => came)
    await lab.say("room:42", "n", 3)
    await until("3 comes", () => came.includes(3), () => came)
    assert.deepEqual(came.slice(came.lastIndexOf(1)), [1, 2, 3]) // 0 may have come twice
  })

  test("four lines", async t => {
    const lab = await Lab.start(t)
    const socket = new lab.Socket("/socket", {})
    socket.connect()
    const came = []
    const lines = block("js", "s.recovered === false").replace("room.join()", "room.on('n', ({n}) => came.push(n)); room.join()")
    const {history} = run(lines, {socket, came, reload: () => assert.fail("a gap")}, "history")
    await until("it has a position", () => history.after)
    const first = history.after
    await lab.say("room:42", "n", 0)
    await until("it has the next position", () => history.after !== first)
    await comes(came, 0)
    await lab.without(() => lab.say("room:42", "n", 1, 2))
    await comes(came, 0, 1, 2)
    await lab.say("room:42", "n", 3)
    await comes(came, 0, 1, 2, 3)
  })

  test("the last ones, for who comes later", async t => {
    const lab = await Lab.start(t)
    const before = Date.now()
    await lab.say("room:42", "n", ...Array(22).keys())
    await lab.say("news", "headline", ...Array(22).keys())
    await lab.say("news", "other", 22)
    const come = async (topic, event, ask) => {
      const socket = new lab.Socket("/socket", {})
      socket.connect()
      return joined(socket.channel(topic, ask), event)
    }
    const last20 = [...Array(22).keys()].slice(-20)
    await comes(await come("news", "headline", {}), ...last20)
    await comes(await come("room:42", "n", params('"last"')), ...last20)
    const since = params('"since"')
    assert.equal(since.history.limit, 25)
    await comes(await come("room:42", "n", {history: {...since.history, since: before - 1000}}), ...Array(22).keys())
    const none = await come("room:42", "n", params('"history":{}'))
    await lab.say("room:42", "n", 22)
    await comes(none, 22)
  })

  test("JavaPhoenixClient", {skip: !process.env.MYCELIUM_CLIENTS}, async t => {
    const lab = await Lab.start(t)
    const lines = await runJava(lab.scope, JAVA.replace("SNIPPET", block("java", "setParams")), `${lab.network.url}/socket`)
    const soon = (what, check) => until(what, check, () => lines, {patienceMs: 60_000})
    const marks = () => lines.filter(line => line === "mark").length
    await soon("it has a position", () => marks() > 0)
    await lab.say("room:42", "n", 0)
    await soon("it has the next position", () => marks() > 1)
    await lab.without(() => lab.say("room:42", "n", 1, 2))
    await soon("it has all", () => same(lines.filter(line => line !== "mark"), ["n 0", "n 1", "n 2"]))
  })

  test("realtime-js", async t => {
    const lab = await Lab.start(t, {topics: "realtime:*", more: ["--dialect", "realtime", "--realtime-keys", KEY]})
    const {RealtimeClient} = createRequire(import.meta.url)("@supabase/realtime-js")
    const client = new RealtimeClient(`${lab.network.url}/realtime/v1`, {params: {apikey: KEY}, transport: WebSocket, timeout: 2000, reconnectAfterMs: () => 20})
    lab.scope.defer(() => new Promise(resolve => client.socketAdapter.getSocket().disconnect(resolve))) // its own disconnect leaves a timer of 10 s
    const lines = block("js", "updateJoinPayload")
    const came = []
    const marks = []
    run(lines.replace("room.subscribe()", `
      room.on("broadcast", {event: "n"}, ({payload}) => came.push(payload.n))
      room.on("history_mark", {}, ({pos}) => marks.push(pos))
      room.subscribe()`), {client, came, marks})
    const say = n => lab.publish({topic: "realtime:42", event: "broadcast", payload: {type: "broadcast", event: "n", payload: {n}}})
    await until("it has a position", () => marks.length > 0)
    await say(0)
    await until("it has the next position", () => marks.length > 1)
    await lab.without(async () => {
      await say(1)
      await say(2)
    })
    await comes(came, 0, 1, 2)
  })
})
