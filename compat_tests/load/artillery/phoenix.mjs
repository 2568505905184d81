// Steps for Artillery's scenarios: users of Phoenix Channels with npm's phoenix, the client that browsers run. A step of a scenario is
// "- function: NAME" with one of the names below; the scenario's variables say what it does.
//
// What the steps measure is in Artillery's report:
//
//   histograms  phoenix.connect_ms     from new Socket to its onOpen
//               phoenix.join_ms        from join to its reply
//               phoenix.reply_ms       from a push to its reply
//               phoenix.delivery_ms    from a push to its arrival at another user
//               phoenix.back_ms        from a lost connection to the channel being joined again
//   counters    phoenix.joined         joins, without those after a lost connection
//               phoenix.said           pushes that were answered
//               phoenix.messages       messages of every kind that arrived
//               phoenix.presence       presence_state and presence_diff
//               phoenix.gaps           deliveries that are missing between others of the same sender
//               errors.…               everything that a user of the application would notice

import {LongPoll, Presence, Socket} from "phoenix"
import WebSocket from "ws"

const TIMEOUT_MS = 10000

// The same clock in all of Artillery's worker threads, so that a message's age can be told in another one.
const now = () => performance.timeOrigin + performance.now()
const sleep = ms => new Promise(done => setTimeout(done, ms))

// Users of this worker thread: all so far, those who have joined, and those who have said everything.
let numbers = 0
let joined = 0
let finished = 0
let firstCame

class User {
  constructor(context, events) {
    this.vars = context.vars
    this.events = events
    this.number = numbers++
    this.room = this.number % (this.vars.rooms ?? 1)
    this.vars.room = this.room // for other steps of the scenario
    this.said = 0
    this.messages = 0
    this.last = new Map() // the number of the last message, by sender
    this.expectsClose = false
    firstCame ??= now()
  }

  measure(name, since) { this.events.emit("histogram", `phoenix.${name}_ms`, now() - since) }
  count(name, by = 1) { this.events.emit("counter", `phoenix.${name}`, by) }

  async connect() {
    const {target, path = "/socket", transport = "websocket"} = this.vars
    const since = now()
    this.socket = new Socket(target.replace(/^http/, "ws") + path.replace("%", this.room), {transport: transport === "longpoll" ? LongPoll : WebSocket, timeout: TIMEOUT_MS})
    this.socket.onMessage(() => { this.messages++ })
    const opened = new Promise((resolve, reject) => {
      this.socket.onOpen(resolve)
      this.socket.onError(error => reject(new Error(`not connected: ${error?.message ?? error}`)))
    })
    this.socket.onClose(() => {
      if (!this.expectsClose) this.events.emit("error", "closed unexpectedly")
    })
    this.socket.connect()
    await opened
    this.measure("connect", since)
  }

  async join() {
    const {topic = "room:%", params = {}, event = "say", presence = false} = this.vars
    this.channel = this.socket.channel(topic.replace("%", this.room), replaced(params, `${process.env.LOCAL_WORKER_ID}-${this.number}`))
    this.channel.on(event, message => this.hear(message))
    if (presence) {
      for (const name of ["presence_state", "presence_diff"]) this.channel.on(name, () => this.count("presence"))
      this.presence = new Presence(this.channel)
    }
    const since = now()
    await answered("join", this.channel.join())
    this.measure("join", since)
    this.count("joined")
    joined++
  }

  async say() {
    const {event = "say", text = ""} = this.vars
    const since = now()
    await answered("push", this.channel.push(event, {from: this.number, worker: process.env.LOCAL_WORKER_ID, n: ++this.said, at: since, text}))
    this.measure("reply", since)
    this.count("said")
  }

  hear({from, worker, n, at}) {
    this.measure("delivery", at)
    const sender = `${worker} ${from}`
    const missing = n - (this.last.get(sender) ?? n - 1) - 1
    if (missing !== 0) this.count("gaps", Math.abs(missing))
    this.last.set(sender, n)
  }

  /** Cuts the connection as a lost network does, and waits until phoenix.js has connected and joined again. */
  async drop() {
    const since = now()
    this.last.clear() // what is said meanwhile is missed
    this.expectsClose = true
    this.socket.conn.terminate()
    await until("lose the connection", () => this.channel.state !== "joined", {every: 10})
    await until("come back", () => this.channel.state === "joined", {every: 10})
    this.expectsClose = false
    this.measure("back", since)
  }

  leave() {
    this.expectsClose = true
    this.count("messages", this.messages)
    return new Promise(done => this.socket.disconnect(done))
  }
}

/** Resolves with the answer to a join or push. */
const answered = (what, push) => new Promise((resolve, reject) => push
  .receive("ok", resolve)
  .receive("error", answer => reject(new Error(`${what} refused: ${JSON.stringify(answer)}`)))
  .receive("timeout", () => reject(new Error(`${what} timed out`))))

async function until(what, done, {within = TIMEOUT_MS, every = 200} = {}) {
  for (const end = now() + within; !done(); await sleep(every)) if (now() > end) throw new Error(`did not ${what}`)
}

/** Returns params with the user's name in place of %. */
const replaced = (params, name) => JSON.parse(JSON.stringify(params).replaceAll("%", name))

/** A step of a scenario. A user who fails leaves, so that phoenix.js does not try again for ever. */
const step = work => (context, events, done) => {
  context.user ??= new User(context, events)
  const {user} = context
  work(user).then(() => done(), error => {
    user.expectsClose = true
    user.socket?.disconnect()
    done(error)
  })
}

/** Gives the user a number, and the variable `room`, for steps before connect. */
export const arrive = step(async () => {})

/** Connects to the variable `path`, by default /socket, where % is the user's room, over the variable `transport`: websocket or longpoll. */
export const connect = step(user => user.connect())

/** Joins the variable `topic`, where % is a room below the variable `rooms`, with the variable `params`, where % is a name. */
export const join = step(user => user.join())

/** Pushes a message and waits for its reply. */
export const say = step(user => user.say())

/** The same if the user's number is below the variable `speakers`. */
export const sayAsSpeaker = step(async user => { if (user.number < user.vars.speakers) await user.say() })

/** Waits until the user sees as many presences as the variable `users` says. */
export const seeEverybody = step(user => until(`see ${user.vars.users} users`, () => user.presence.list(name => name).length === user.vars.users))

/** Waits until the variable `gather`, in seconds, has passed since the first user came, and those who came have joined. */
export const gather = step(async user => {
  await sleep(Math.max(0, firstCame + user.vars.gather * 1000 - now()))
  await until("see everybody join", () => joined === numbers, {within: 60000})
})

/** Waits until everybody has said everything, and their last messages have come. */
export const finish = step(async () => {
  finished++
  await until("see everybody finish", () => finished === joined, {within: 60000})
  await sleep(1000)
})

/** Waits for a part of the variable `pause`, in seconds, so that not everybody speaks at once. */
export const waitMyTurn = step(user => sleep(Math.random() * user.vars.pause * 1000))

/** Waits for the next multiple of the variable `wave`, in seconds, and loses its connection then, as everybody does. */
export const loseConnectionWithAll = step(async user => {
  const wave = user.vars.wave * 1000
  await sleep(wave - now() % wave)
  await user.drop()
})

/** Stays for the variable `night`, in seconds, if the user is one in twenty. */
export const stayUp = step(user => sleep(user.number % 20 === 0 ? user.vars.night * 1000 : 0))

/** Disconnects. */
export const leave = step(user => user.leave())
