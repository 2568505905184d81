// Tests every npm client, unchanged, with every behaviour, and checks the table in the documentation.

import assert from "node:assert/strict"
import test, {describe} from "node:test"
import {leaveNothingBehind} from "../scope.mjs"
import {CLIENTS} from "./clients.mjs"
import {readTable, withoutColumns} from "./docs.mjs"
import {AT_ONCE, clientsHere, clientsOfRun, missingFor, runClient, tableOf} from "./matrix.mjs"

leaveNothingBehind()

const results = new Map()
const here = clientsHere()
const absent = clientsOfRun().filter(client => !here.includes(client))

const why = {"–": "the client does not offer it", skipped: "the server has no long polling"}

describe("npm clients", {concurrency: AT_ONCE}, () => {
  for (const client of here) {
    test(client.name, async t => {
      results.set(client.name, await runClient(client))
      for (const {behaviour, mark, error} of results.get(client.name)) {
        await t.test(behaviour, {skip: why[mark] ?? false}, () => assert.ok(mark === "ok", error))
      }
    })
  }
  for (const client of absent) {
    const missing = missingFor(client)
    test(client.name, {skip: process.env.CI === "true" ? false : missing}, () => assert.fail(missing))
  }
})

test("docs/compatibility.md has the table of what ran", async () => {
  const documented = await readTable()
  const others = CLIENTS.filter(client => !here.includes(client))
  assert.equal(withoutColumns(documented, others.map(({name}) => name)), tableOf(results), "`npm run matrix:table -- --write` writes it")
})
