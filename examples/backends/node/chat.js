// The back end of a moderated chat: Express, and SQLite for its users, rooms and messages.
// ../README.md says how to run it.

import {createHmac, randomUUID, timingSafeEqual} from "node:crypto"
import {readFileSync} from "node:fs"
import express from "express"

// Node 22 has SQLite built in; the package is the same for Node 20.
const {DatabaseSync} = await import("node:sqlite").catch(() => import("@photostructure/sqlite"))

const {HOOK_SECRET, MYCELIUM_KEY, MYCELIUM_SERVER = "http://localhost:4000"} = process.env
const {DATABASE = "chat.db", PORT = 8000} = process.env

if (!HOOK_SECRET || !MYCELIUM_KEY) throw new Error("HOOK_SECRET and MYCELIUM_KEY must be set: see ../README.md")

const db = new DatabaseSync(DATABASE)
db.exec(readFileSync(`${import.meta.dirname}/schema.sql`, "utf8"))
const one = (sql, ...values) => db.prepare(sql).get(...values)
const all = (sql, ...values) => db.prepare(sql).all(...values)
const run = (sql, ...values) => db.prepare(sql).run(...values).changes

function verify(secret, headers, body) {
  const {"webhook-id": id, "webhook-timestamp": sent, "webhook-signature": signatures = ""} = headers
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64")
  const expected = Buffer.from("v1," + createHmac("sha256", key).update(`${id}.${sent}.`).update(body).digest("base64"))
  const fresh = Math.abs(Date.now() / 1000 - Number(sent)) < 300
  const matches = s => s.length === expected.length && timingSafeEqual(s, expected)
  return fresh && signatures.split(" ").map(s => Buffer.from(s)).some(matches)
}

const userOf = token =>
  one("select * from users join sessions using (name) where token = ? and not banned", String(token))

function connect({params}) {
  const user = userOf(params?.token)
  if (!user) return {allow: false}
  return {allow: true, socket_id: `users:${user.name}`, assigns: {user: user.name}}
}

function join({topic, assigns: {user}}) {
  const member = one(
    "select moderator from members join users using (name) where topic = ? and name = ? and not banned", topic, user,
  )
  if (!member) return {allow: false, reply: {reason: "members only"}}
  const messages = all("select id, name, body from messages where topic = ? order by id desc limit 20", topic)
  const role = member.moderator ? "moderator" : "member"
  return {
    allow: true,
    reply: {role, messages: messages.reverse()},
    assigns: {role},
    track: {key: user, meta: {role, status: "here"}},
  }
}

function event({topic, event, payload, assigns: {user, role}}) {
  const refuse = reason => ({allow: false, reply: {reason}})
  switch (event) {
    case "new_msg": {
      const text = payload?.body // whatever the client has sent
      if (typeof text !== "string" || text.length > 2000) {
        return refuse("a message has a body of up to 2000 characters")
      }
      if (role !== "moderator" && text.includes("://")) return refuse("only moderators post links")
      const body = text.replace(/\bdarn\b/gi, "****")
      const message = one(
        "insert into messages (topic, name, body) values (?, ?, ?) returning id, name, body", topic, user, body,
      )
      return {allow: true, reply: {id: message.id}, broadcast: [{event: "new_msg", payload: message}]}
    }
    case "search": {
      const messages = all(
        "select id, name, body from messages where topic = ? and body like ? order by id desc limit 20",
        topic, `%${payload?.text ?? ""}%`,
      )
      return {allow: true, reply: {messages}}
    }
    case "status": {
      const status = String(payload?.status ?? "here").slice(0, 100)
      return {allow: true, reply: {}, track: {key: user, meta: {role, status}}}
    }
  }
  return refuse("unknown event")
}

function told(events) {
  db.exec("begin")
  try {
    for (const {id, type, topic, event, user, time} of events) {
      if (run("insert or ignore into told values (?)", id) === 0) continue // it has been handled
      if (type === "joined") run("update rooms set visits = visits + 1 where topic = ?", topic)
      if (type === "published" && event === "new_msg") run("update rooms set posts = posts + 1 where topic = ?", topic)
      if (type === "left") run("update users set last_seen = ? where name = ?", time, user ?? null)
    }
    db.exec("commit")
  } catch (error) {
    db.exec("rollback")
    throw error
  }
}

const app = express()

app.post("/mycelium", express.raw({type: "application/json", limit: "2mb"}), (request, response) => {
  if (!verify(HOOK_SECRET, request.headers, request.body ?? "")) return response.sendStatus(401)
  const r = JSON.parse(request.body)
  response.json(r.events ? told(r.events) ?? {} : {connect, join, event}[r.type](r))
})

// Your own login: this one lets in whoever knows a name.
app.post("/login", express.json(), (request, response) => {
  const user = one("select name from users where name = ? and not banned", String(request.body?.name))
  if (!user) return response.sendStatus(403)
  const token = randomUUID()
  run("insert into sessions values (?, ?)", token, user.name)
  response.json({token})
})

async function call(action, body) {
  const response = await fetch(`${MYCELIUM_SERVER}/api/instances/default/${action}`, {
    method: "POST",
    headers: {"authorization": `Bearer ${MYCELIUM_KEY}`, "content-type": "application/json"},
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${action}: ${response.status} ${await response.text()}`)
}

app.post("/ban", express.json(), async (request, response) => {
  if (!userOf(request.get("authorization")?.replace("Bearer ", ""))?.moderator) return response.sendStatus(403)
  const user = String(request.body?.user)
  run("update users set banned = true where name = ?", user)
  run("delete from sessions where name = ?", user)
  await call("revocations", {user})
  const topics = all("select topic from members where name = ?", user).map(({topic}) => topic)
  await call("broadcasts", {messages: [{topics, event: "put_out", payload: {user}}]})
  response.sendStatus(204)
})

app.get("/rooms", (request, response) => response.json(all("select * from rooms order by topic")))

app.use(express.static(`${import.meta.dirname}/../page`))

const server = app.listen(PORT, "localhost", () => console.log(`http://localhost:${server.address().port}`))
