// A static server with npm's build of phoenix and a page that uses it. It passes WebSocket upgrades on to the server under
// test, so that page and socket share an origin, as behind a front end.

import {once} from "node:events"
import fs from "node:fs/promises"
import http from "node:http"
import net from "node:net"
import {fileURLToPath} from "node:url"
import {join, killPairs} from "./proxy.mjs"

const here = path => fileURLToPath(new URL(path, import.meta.url))

const files = {
  "/": ["text/html", here("browser/client.html")],
  "/global": ["text/html", here("browser/global.html")],
  "/matrix": ["text/html", here("browser/matrix.html")],
  "/user.mjs": ["text/javascript", here("matrix/user.mjs")],
  "/client.mjs": ["text/javascript", here("client.mjs")],
  "/phoenix.mjs": ["text/javascript", here("node_modules/phoenix/priv/static/phoenix.mjs")],
  "/phoenix.min.js": ["text/javascript", here("node_modules/phoenix/priv/static/phoenix.min.js")],
}

class Front {
  constructor(target) {
    this.target = target
    this.pairs = new Set()
    this.server = http.createServer((request, response) => this.serve(request, response))
    this.server.on("upgrade", (request, socket, head) => this.upgrade(request, socket, head))
  }

  get http() { return `http://127.0.0.1:${this.server.address().port}` }

  async serve(request, response) {
    const [type, path] = files[request.url] ?? []
    if (!path) return response.writeHead(404).end()
    response.writeHead(200, {"content-type": `${type}; charset=utf-8`}).end(await fs.readFile(path))
  }

  upgrade(request, socket, head) {
    const upstream = net.connect(this.target, "127.0.0.1")
    join(this.pairs, socket, upstream)
    const lines = [`${request.method} ${request.url} HTTP/1.1`]
    for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`)
    upstream.write(`${lines.join("\r\n")}\r\n\r\n`)
    upstream.write(head)
    socket.pipe(upstream)
    upstream.pipe(socket)
  }

  /** Kills the WebSockets, see Proxy.kill. */
  kill() { killPairs(this.pairs) }

  async close() {
    this.kill()
    this.server.close()
    this.server.closeAllConnections()
    await once(this.server, "close")
  }
}

/** Starts a front of the port `target`. It is closed when the scope ends. */
export async function startFront(scope, target) {
  const front = new Front(target)
  front.server.listen(0, "127.0.0.1")
  await once(front.server, "listening")
  scope.defer(() => front.close())
  return front
}
