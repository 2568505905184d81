// The proxy between clients and server leaves no connection open, whatever happens while connections are killed.

import net from "node:net"
import {once} from "node:events"
import test from "node:test"
import {startProxy} from "./proxy.mjs"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

test("a connection that is killed while its end is on the way is closed", async t => {
  const scope = new Scope(t)
  const server = net.createServer(socket => socket.resume().on("error", () => {}))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  scope.defer(() => server.close())
  const proxy = await startProxy(scope, server.address().port)
  const client = net.connect(proxy.port, "127.0.0.1").on("error", () => {})
  scope.defer(() => client.destroy())
  await until("the proxy has the connection", () => proxy.pairs.size === 1)
  for (const pair of proxy.pairs) pair.client.end()
  proxy.kill()
  await until("the connection is closed", () => proxy.pairs.size === 0)
})
