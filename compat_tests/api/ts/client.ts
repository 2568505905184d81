// Uses the generated client against a server: node generated/js/client.js URL KEY. It
// fails if an answer is not as the types say, or not what it should be.
import assert from "node:assert/strict"
import createClient from "openapi-fetch"
import type { components, paths } from "./generated/api.js"

const [url, key] = process.argv.slice(2) as [string, string]
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } })
const path = { id: "typescript" }

const spec: components["schemas"]["Spec"] = { id: "typescript", type: "relay", config: { topics: ["room:*"] }, labels: { team: "red" } }
const made = await client.POST("/api/instances", { body: spec })
assert.equal(made.response.status, 201)
assert.equal(made.data?.state, "running")

const sent = await client.POST("/api/instances/{id}/broadcast", {
  params: { path, header: { "Idempotency-Key": "one" } }, body: { topic: "room:1", event: "hello", payload: { n: 1 } },
})
assert.equal(sent.response.status, 204)
const again = await client.POST("/api/instances/{id}/broadcast", {
  params: { path, header: { "Idempotency-Key": "one" } }, body: { topic: "room:1", event: "hello", payload: { n: 1 } },
})
assert.equal(again.response.headers.get("idempotency-replayed"), "true")

const many = await client.POST("/api/instances/{id}/broadcasts", {
  params: { path }, body: { messages: [{ topics: ["room:1", "room:2"], event: "a" }, { topics: ["room:1"], event: "phx_close" }] },
})
assert.deepEqual(many.data?.results.map(r => r.sent), [2, 0])
assert.equal(many.data?.results[1]?.problem?.errors?.[0]?.field, "/messages/1/event")

const pushed = await client.POST("/api/instances/{id}/push", { params: { path }, body: { user: "ada", topic: "room:1", event: "psst" } })
assert.equal(pushed.response.status, 204)
for (const what of ["/api/instances/{id}/subscribe", "/api/instances/{id}/unsubscribe", "/api/instances/{id}/leave"] as const) {
  const { response } = await client.POST(what, { params: { path }, body: { socket_id: "ada", topic: "room:1" } })
  assert.equal(response.status, 204, what)
}
const gone = await client.POST("/api/instances/{id}/disconnect", { params: { path }, body: { user: "ada", reconnect: false } })
assert.equal(gone.response.status, 204)
const revoked = await client.POST("/api/instances/{id}/revocations", { params: { path }, body: { user: "ada" } })
assert.ok(revoked.data?.issued_before && Date.parse(revoked.data.issued_before) > Date.now() - 60_000)
const revocations = await client.GET("/api/instances/{id}/revocations", { params: { path, query: { limit: 10 } } })
assert.equal(revocations.data?.revocations[0]?.user, "ada")

const users = await client.GET("/api/instances/{id}/users", { params: { path } })
assert.deepEqual(users.data?.users, [])
const sockets = await client.GET("/api/instances/{id}/sockets", { params: { path, query: { user: "ada" } } })
assert.deepEqual(sockets.data?.sockets, [])

const wrong = await client.POST("/api/instances/{id}/push", { params: { path }, body: { topic: "room:1", event: "psst" } })
assert.equal(wrong.error?.status, 422)
assert.equal(wrong.error?.errors?.[0]?.field, "/user")
const missing = await client.GET("/api/instances/{id}", { params: { path: { id: "nobody" } } })
assert.equal(missing.error?.type, "urn:mycelium:problem:not-found")

const changed = await client.PATCH("/api/instances/{id}", { params: { path, header: { "If-Match": "*" } }, body: { labels: { team: null } } })
assert.equal(changed.data?.labels, undefined)
const removed = await client.DELETE("/api/instances/{id}", { params: { path } })
assert.equal(removed.response.status, 204)
console.log("done")
