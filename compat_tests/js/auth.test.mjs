// The snippets of docs/auth.md connect with a token, renew it in time, and reconnect with the new one.

import assert from "node:assert/strict"
import {createHmac} from "node:crypto"
import {once} from "node:events"
import fs from "node:fs/promises"
import http from "node:http"
import test, {describe} from "node:test"
import {leaveNothingBehind, Scope} from "./scope.mjs"
import {startServer} from "./server.mjs"
import {snippetsOf, start} from "./snippet.mjs"
import {until} from "./wait.mjs"

leaveNothingBehind()

const SECRET = "a-secret-of-32-bytes-at-the-least"
const FIRST_S = 4 // how long the first token is valid; later ones are valid for an hour

const part = value => Buffer.from(JSON.stringify(value)).toString("base64url")

function sign(claims) {
  const text = `${part({alg: "HS256", typ: "JWT"})}.${part(claims)}`
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`
}

/** A login that gives tokens to everybody, and knows when they expire. */
async function startLogin(scope) {
  const given = []
  const server = http.createServer((_, response) => {
    given.push(Math.floor(Date.now() / 1000) + (given.length === 0 ? FIRST_S : 3600))
    response.setHeader("connection", "close").end(sign({sub: "ada", exp: given.at(-1)}))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  scope.defer(() => new Promise(resolve => server.close(resolve)))
  return {given, address: `http://127.0.0.1:${server.address().port}`}
}

const cases = {
  "phoenix": ["--auth-join", "room:*", "--auth-publish", "room:*"],
  "@supabase/realtime-js": ["--auth-param", "apikey", "--auth-join", "realtime:*", "--auth-publish", "realtime:*"],
}

// Each takes 5 s: its first token is valid for 4 s.
describe("docs/auth.md", {concurrency: true}, () => {
  for (const [name, more] of Object.entries(cases)) {
    test(`the snippet for ${name} connects and renews its token`, async t => {
      const scope = new Scope(t)
      const guide = await fs.readFile(new URL("../../docs/auth.md", import.meta.url), "utf8")
      const [code, ...others] = snippetsOf(guide, name)
      assert.ok(code && others.length === 0, `docs/auth.md has one snippet for ${name}`)
      const server = await startServer(scope, "mycelium", {more: [...more, "--auth-leeway", "0s", "--auth-socket-id", "user:{sub}"], env: {MYCELIUM_AUTH_SECRET: SECRET}})
      const login = await startLogin(scope)
      const addressed = code.replace("ws://localhost:4000/socket", server.endpoint).replace("http://localhost:5000", login.address)
      const {child, output} = await start(scope, `auth-${name.replaceAll(/\W/g, "-")}`, addressed)
      const seen = () => ({...output, exit: child.exitCode, server: server.lines})
      const printed = word => output.out.split("\n").filter(line => line === word).length
      await until("it joins", () => printed("joined") > 0 || child.exitCode !== null, seen)
      await until("it renews its token", () => printed("renewed") > 0 || child.exitCode !== null, seen)
      await until("its first token has ended", () => Date.now() > (login.given[0] + 1) * 1000, seen)
      assert.equal(child.exitCode, null, output.err)
      // A channel of a closed socket would have joined again, after 10 ms.
      assert.deepEqual({joined: printed("joined"), renewed: printed("renewed"), tokens: login.given.length, err: output.err},
        {joined: 1, renewed: 1, tokens: 2, err: ""})
      const answer = await fetch(`${server.http}/api/instances/default/disconnect`, {
        method: "POST", headers: await server.headers({"Content-Type": "application/json"}), body: JSON.stringify({socket_id: "user:ada"}),
      })
      assert.equal(answer.status, 204)
      await until("it comes back", () => printed("joined") === 2, seen)
      assert.deepEqual(server.lines.filter(line => line.includes("refused")), [])
    })
  }
})
