// An application on phoenix.js of any version, with the lines of docs/history.md, that says what it is sent. It runs in Node and in browsers.

const LAST = 1000 // how many of the last messages clients ask for
const SINCE_MS = 2000 // how far back before the last message a client asks: messages have the time of their sender

/**
 * Joins `topic` by a way of recovery: after, session, last, since or on_join. say gets "n NUMBER" for each message, "mark" for each mark,
 * and "state JSON".
 */
export function ride({Socket}, {url, topic, way, session, options}, say) {
  const socket = new Socket(url, {...options, params: way === "session" ? {session} : {}})
  const history = {after: {}, last: {last: LAST}, since: {last: LAST}}[way]
  const room = socket.channel(topic, history ? {history} : {})
  room.on("history_mark", mark => {
    if (way === "after") history.after = mark.pos
    say("mark")
  })
  room.on("history_state", state => say(`state ${JSON.stringify(state)}`))
  room.on("n", ({n, at}) => {
    if (way === "since") {
      delete history.last
      history.since = at - SINCE_MS
    }
    say(`n ${n}`)
  })
  socket.connect()
  room.join()
}
