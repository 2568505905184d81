// examples/yjs as a server under test.

import fs from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {startServer} from "./server.mjs"

/** Makes a folder for documents, which is removed with the scope. */
export async function temporaryFolder(scope) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "yjs-"))
  scope.defer(() => fs.rm(folder, {recursive: true}))
  return folder
}

/** Starts the example with the documents in a folder, or in a new one, and with further arguments. */
export async function startYjs(scope, folder, ...more) {
  return startServer(scope, "yjs", {more: ["-folder", folder ?? await temporaryFolder(scope), ...more]})
}
