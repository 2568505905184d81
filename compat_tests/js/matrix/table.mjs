// npm run matrix:table: runs all clients and prints the table; with `-- --write` it also goes into docs/compatibility.md, unless
// something failed, which is reported on stderr and by the exit code 1.

import {writeTable} from "./docs.mjs"
import {CLIENTS} from "./clients.mjs"
import {clientsHere, runMatrix, tableOf} from "./matrix.mjs"

const write = process.argv.includes("--write")

const results = await runMatrix((client, results) => {
  for (const {behaviour, mark, error} of results) {
    if (mark !== "FAIL") continue
    process.exitCode = 1
    console.error(`${client.name}: ${behaviour}\n${error}\n`)
  }
})
const table = tableOf(results)
console.log(table)

if (write && clientsHere().length < CLIENTS.length) {
  console.error("Nothing is written: without all browsers the table would lose a column.")
  process.exitCode = 1
} else if (write && !process.exitCode) {
  await writeTable(table)
}
