// startServer reports arguments that it does not know. A lost argument would mean that a test uses another server than intended.

import assert from "node:assert/strict"
import test from "node:test"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"

leaveNothingBehind()

test("startServer refuses what it does not know", async t => {
  const scope = new Scope(t)
  for (const options of [["--data", "x"], {args: ["--data", "x"]}, {more: "--data"}]) {
    await assert.rejects(startServer(scope, "mycelium", options), /startServer takes \{more/)
  }
  await assert.rejects(startServer(scope, "micelium"), /knows mycelium, jsapp, labapp/)
})
