// The programs of browsers on this machine.

import {once} from "node:events"
import fs from "node:fs"
import fsp from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import {spawn} from "node:child_process"

const EXIT_MS = 5000

const inPath = name => (process.env.PATH ?? "").split(path.delimiter).map(folder => path.join(folder, name))

/** Returns the first program that exists: the one that a variable names, or else one of these names in PATH or absolute paths. */
export function findProgram(variable, names) {
  const candidates = process.env[variable] ? [process.env[variable]] : names.flatMap(name => path.isAbsolute(name) ? [name] : inPath(name))
  return candidates.find(file => fs.existsSync(file))
}

/** A program with its own home directory, which is removed with it. */
export class Program {
  static async start(file, argsIn, env = {}) {
    const home = await fsp.mkdtemp(path.join(os.tmpdir(), "mycelium-browser-"))
    const args = typeof argsIn === "function" ? await argsIn(home) : argsIn
    // In its own process group, so that its children end with it.
    const child = spawn(file, args, {stdio: "ignore", detached: true, env: {...process.env, HOME: home, XDG_RUNTIME_DIR: home, ...env}})
    child.on("error", () => {}) // ended reports it
    return Object.assign(new Program(), {file, home, child})
  }

  get ended() { return this.child.pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null }

  async stop() {
    if (!this.ended) {
      const exit = once(this.child, "exit")
      this.signal("SIGTERM")
      const killer = setTimeout(() => this.signal("SIGKILL"), EXIT_MS)
      await exit
      clearTimeout(killer)
    }
    this.signal("SIGKILL") // what is left of the group
    await fsp.rm(this.home, {recursive: true, force: true, maxRetries: 5})
  }

  signal(name) {
    try { process.kill(-this.child.pid, name) } catch { /* nobody is left */ }
  }
}
