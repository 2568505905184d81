// A load balancer that sends each request to the next server, whoever the client is: the opposite of a sticky one.

import {once} from "node:events"
import http from "node:http"

export class Balancer {
  constructor(ports) {
    this.ports = ports
    this.turn = 0
    this.served = new Map(ports.map(port => [port, 0])) // answers, by port
    this.agent = new http.Agent({keepAlive: true})
    this.server = http.createServer((request, response) => this.serve(request, response))
  }

  get port() { return this.server.address().port }
  get endpoint() { return `ws://127.0.0.1:${this.port}/socket` }

  /** Sends new requests to one server alone until `spread`. */
  pin(port) { this.pinned = port }
  spread() { this.pinned = undefined }

  /** Sends nothing to a server any more. */
  drop(port) { this.ports = this.ports.filter(one => one !== port) }

  serve(request, response) {
    const port = this.pinned ?? this.ports[this.turn++ % this.ports.length]
    const {method, url, headers} = request
    const upstream = http.request({host: "127.0.0.1", port, method, path: url, headers, agent: this.agent}, answer => {
      this.served.set(port, this.served.get(port) + 1)
      response.writeHead(answer.statusCode, answer.headers)
      answer.on("error", () => response.destroy())
      answer.pipe(response)
    })
    upstream.on("error", () => response.headersSent ? response.destroy() : response.writeHead(502).end())
    response.on("close", () => { if (!response.writableFinished) upstream.destroy() })
    request.pipe(upstream)
  }

  async close() {
    this.server.close()
    this.server.closeAllConnections()
    await once(this.server, "close")
    this.agent.destroy()
  }
}

/** Starts a balancer before these ports; it is closed when the scope ends. */
export async function startBalancer(scope, ports) {
  const balancer = new Balancer(ports)
  balancer.server.listen(0, "127.0.0.1")
  await once(balancer.server, "listening")
  scope.defer(() => balancer.close())
  return balancer
}
