// The table of Supabase's clients in docs/compatibility.md.

import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"

const FILE = fileURLToPath(new URL("../../../docs/compatibility.md", import.meta.url))
const TABLE = /<!-- supabase's clients -->\n([^]*?)\n<!-- supabase's clients: end -->/

/** What the table says: a function of a behaviour and a client, and the names of all behaviours. */
export async function readTable() {
  const [, table] = TABLE.exec(await fs.readFile(FILE, "utf8")) ?? []
  if (table === undefined) throw new Error(`${FILE} has no table of Supabase's clients`)
  const [head, , ...rows] = table.split("\n").map(line => line.split("|").slice(1, -1).map(cell => cell.replace(/<sup>.*<.sup>/, "").trim()))
  return {
    behaviours: rows.map(([name]) => name),
    cell: (behaviour, client) => rows.find(([name]) => name === behaviour)?.[head.indexOf(client)],
  }
}
