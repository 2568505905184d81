// The real reverse proxies, with the configurations of docs/proxies.md: nginx, HAProxy and Caddy as processes on a free port.

import {spawn} from "node:child_process"
import {once} from "node:events"
import fs from "node:fs/promises"
import {existsSync} from "node:fs"
import net from "node:net"
import os from "node:os"
import path from "node:path"
import {freePort} from "./addresses.mjs"
import {until} from "./wait.mjs"

const GUIDE = new URL("../../docs/proxies.md", import.meta.url)

/** Returns the guide's block in a language. */
async function configuration(language) {
  const block = new RegExp("```" + language + "\\n([^]*?)```").exec(await fs.readFile(GUIDE, "utf8"))
  if (!block) throw new Error(`docs/proxies.md has no block of ${language}`)
  return block[1]
}

/** replaceOnce fails if the guide no longer has what the test must change. */
function replaceOnce(text, from, to) {
  if (!text.includes(from)) throw new Error(`docs/proxies.md no longer has ${JSON.stringify(from)}`)
  return text.replaceAll(from, to)
}

// For each proxy: how to set the port and upstream in the guide's configuration, and the command that runs it in the foreground.
const programs = {
  nginx: {
    language: "nginx", install: "apt-get install nginx-light",
    prepare: (text, port, upstream, folder) => {
      const scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(kind => `${kind}_temp_path ${folder}/${kind};`).join("\n")
      const http = replaceOnce(replaceOnce(text, "listen 80", `listen 127.0.0.1:${port}`), "127.0.0.1:4000", upstream)
      return `daemon off;\nmaster_process off;\npid ${folder}/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${scratch}\n${http}}\n`
    },
    args: (file, folder) => ["-c", file, "-p", folder],
  },
  haproxy: {
    language: "haproxy", install: "apt-get install haproxy",
    prepare: (text, port, upstream) => replaceOnce(replaceOnce(text, "bind :80", `bind 127.0.0.1:${port}`), "127.0.0.1:4000", upstream),
    args: file => ["-db", "-f", file],
  },
  caddy: {
    language: "caddy", install: "apt-get install caddy",
    prepare: (text, port, upstream) =>
      `{\n\tadmin off\n\tauto_https off\n}\n${replaceOnce(replaceOnce(text, ":80 {", `http://:${port} {\n\tbind 127.0.0.1`), "127.0.0.1:4000", upstream)}`,
    args: file => ["run", "--adapter", "caddyfile", "--config", file],
  },
}

export const names = Object.keys(programs)

/** Returns the path of a program, or undefined. Daemons are often outside of a user's PATH. */
const find = name => [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/usr/local/sbin"]
  .map(folder => path.join(folder, name)).find(file => existsSync(file))

/** Returns why a program's tests do not run here, or undefined. */
export const missing = name => find(name) ? undefined : `no ${name} found: \`${programs[name].install}\``

const accepts = port => new Promise(resolve => {
  const socket = net.connect(port, "127.0.0.1")
  socket.on("connect", () => { socket.destroy(); resolve(true) })
  socket.on("error", () => resolve(false))
})

/** Starts nginx, haproxy or caddy in front of the port `target`, with the guide's configuration or with `text`. It is stopped when the scope ends. */
export async function startReverseProxy(scope, name, target, text) {
  const {language, prepare, args} = programs[name]
  text ??= await configuration(language)
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), `mycelium-${name}-`))
  scope.defer(() => fs.rm(folder, {recursive: true, force: true}))
  const port = await freePort()
  const file = path.join(folder, "configuration")
  await fs.writeFile(file, prepare(text, port, `127.0.0.1:${target}`, folder))
  const lines = []
  const child = spawn(find(name), args(file, folder), {stdio: ["ignore", "pipe", "pipe"], env: {...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder}})
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", text => lines.push(text))
  const exit = once(child, "exit")
  scope.defer(async () => { child.kill("SIGKILL"); await exit })
  await until(`${name} listens`, async () => await accepts(port) || child.exitCode !== null, () => lines.join(""))
  if (child.exitCode !== null) throw new Error(`${name} did not start:\n${lines.join("")}`)
  return {port, http: `http://127.0.0.1:${port}`}
}
