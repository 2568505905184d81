// Addresses for servers that cannot choose a port themselves: others have to know it before.

import {once} from "node:events"
import net from "node:net"

/**
 * Addresses on loopback where nobody listens. Their ports are not those that the system gives to connections (32768 and above), one of which
 * might take it before a node listens there, or while it is not running.
 */
export async function freeAddresses(count) {
  const servers = []
  while (servers.length < count) {
    const server = net.createServer().listen(10_000 + Math.floor(Math.random() * 20_000), "127.0.0.1")
    const listens = await once(server, "listening").then(() => true, error => {
      if (error.code !== "EADDRINUSE") throw error
    })
    if (listens) servers.push(server)
  }
  const addresses = servers.map(server => `127.0.0.1:${server.address().port}`)
  await Promise.all(servers.map(server => once(server.close(), "close")))
  return addresses
}

/** A port on loopback on which nobody listens. */
export async function freePort() {
  const [address] = await freeAddresses(1)
  return Number(address.split(":")[1])
}
