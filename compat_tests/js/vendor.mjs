// The npm packages that the page of examples/yjs loads, as one script, so that the example needs neither npm nor another host.
// `node vendor.mjs` writes it, and a test checks that it has the versions that are tested here.

import fs from "node:fs/promises"
import {fileURLToPath} from "node:url"
import * as esbuild from "esbuild"

export const FILE = fileURLToPath(new URL("../../examples/yjs/page/vendor.js", import.meta.url))

const ENTRY = `
export {Socket} from "phoenix"
export {PhoenixChannelProvider} from "y-phoenix-channel"
export * as Y from "yjs"
`

const HEAD = `// phoenix, y-phoenix-channel, @y/protocols, yjs and lib0 as npm has them; their licenses are in vendor-licenses.txt.
// Written by: node compat_tests/js/vendor.mjs
`

/** Returns the text of the script. */
export async function bundle() {
  const {outputFiles: [{text}]} = await esbuild.build({
    stdin: {contents: ENTRY, resolveDir: fileURLToPath(new URL(".", import.meta.url))},
    bundle: true, minify: true, write: false, format: "esm", target: "es2022", charset: "utf8",
  })
  return HEAD + text
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await fs.writeFile(FILE, await bundle())
