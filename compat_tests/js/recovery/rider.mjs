// An application on phoenix.js of any version, with the lines of docs/history.md, that says what it is sent. It runs in Node and in browsers.

/** How many of the last messages clients ask for that ask for the last ones, and what a page keeps for those that ask for nothing. */
const LAST = 1000
const SINCE_MS = 10_000 // how far back a client asks that has seen a message now: clocks differ

/**
 * Joins `topic` by a way of recovery: after, session, last, since or on_join. say gets "n NUMBER" for each message, "mark" for each mark,
 * and "state JSON".
 */
export function ride({Socket}, {url, topic, way, session, options}, say) {
  const socket = new Socket(url, {...options, params: way === "session" ? {session} : {}})
  const history = {after: {}, last: {last: LAST}, since: {since: Date.now() - SINCE_MS}}[way]
  const room = socket.channel(topic, history ? {history} : {})
  room.on("history_mark", mark => {
    if (way === "after") history.after = mark.pos
    say("mark")
  })
  room.on("history_state", state => say(`state ${JSON.stringify(state)}`))
  room.on("n", ({n}) => {
    if (way === "since") history.since = Date.now() - SINCE_MS
    say(`n ${n}`)
  })
  socket.connect()
  room.join()
}
