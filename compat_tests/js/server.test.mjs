// startServer starts what it was asked for, or says what it does not understand: an argument that is lost would make a test
// of another server than it means to.

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
