// A front end: a few pages on their own origin, as on a development server.

import {once} from "node:events"
import fs from "node:fs/promises"
import http from "node:http"

export const npmPhoenix = () => fs.readFile(new URL("node_modules/phoenix/priv/static/phoenix.mjs", import.meta.url))

/** Serves files, {path: [type, body]}, on a free port of 127.0.0.1 until the scope ends; resolves with the port. */
export async function startPages(scope, files) {
  const server = http.createServer((request, response) => {
    const [type, body] = files[request.url] ?? []
    response.writeHead(body ? 200 : 404, {"content-type": `${type}; charset=utf-8`, connection: "close"}).end(body)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  scope.defer(() => new Promise(resolve => {
    server.close(resolve)
    server.closeAllConnections()
  }))
  return server.address().port
}
