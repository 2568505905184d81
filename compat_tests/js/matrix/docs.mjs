// The table in docs/compatibility.md, between its markers.

import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"

const FILE = fileURLToPath(new URL("../../../docs/compatibility.md", import.meta.url))
const TABLE = /(<!-- npm clients: written by npm run matrix:table -->\n)([^]*?)(<!-- npm clients: end -->)/

/** Returns the table in the documentation. */
export async function readTable() {
  const [, , table] = TABLE.exec(await fs.readFile(FILE, "utf8")) ?? []
  if (table === undefined) throw new Error(`${FILE} has no table between its markers`)
  return table
}

export async function writeTable(table) {
  const text = await fs.readFile(FILE, "utf8")
  await fs.writeFile(FILE, text.replace(TABLE, (_, begin, old, end) => begin + table + end))
}

/** Returns a table without the columns of these names, with what follows the table. */
export function withoutColumns(table, names) {
  const lines = table.split("\n")
  const cellsOf = line => line.split("|").slice(1, -1)
  const nameOf = cell => cell.replace(/<sup>.*<.sup>/, "").trim()
  const kept = cellsOf(lines[0]).flatMap((cell, column) => names.includes(nameOf(cell)) ? [] : [column])
  return lines.map(line => line.startsWith("|") ? `|${kept.map(column => cellsOf(line)[column]).join("|")}|` : line).join("\n")
}
