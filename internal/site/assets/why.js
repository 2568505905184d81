// Why a page has no connection, and what to do about it. A browser does not tell a page why a WebSocket failed, so the page
// requests the socket's address without an upgrade: the server checks everything else first.

/** The text for each reason that whyNot finds. */
export const WORDS = {
  hidden: () => "This page is hidden and reconnects when it is shown.",
  silent: () => "The server does not answer. This page keeps trying.",
  busy: () => "The server accepts no new connections: it is starting, stopping or busy. This page keeps trying.",
  missing: () => "There is no socket at this address. If there is a proxy in between, make it pass on the socket's path.",
  refused: () => "The server requires a token, and this page has none. Your own client sends one in the params of its socket.",
  origin: () => `The server refuses pages from ${location.origin}. Allow this origin with the option check_origin. ` +
    "If there is a proxy in between, make it pass on the Host header.",
  blocked: () => "The server answers, but the WebSocket does not open. If there is a proxy in between, make it pass on WebSocket upgrades.",
}

/** Reasons that go away by themselves. */
const PASSING = ["hidden", "silent", "busy"]

const BY_STATUS = {401: "refused", 403: "refused", 404: "missing", 502: "silent", 503: "busy", 504: "silent"}

/** Resolves with the reason that the socket at `path` does not open, a key of WORDS. */
export async function whyNot(path) {
  if (document.visibilityState === "hidden") return "hidden" // phoenix.js waits until the page is shown
  try {
    const {status} = await fetch(`${path}/websocket?vsn=2.0.0`, {cache: "no-store"})
    return BY_STATUS[status] ?? (await refusesOrigin(path) ? "origin" : "blocked")
  } catch {
    return "silent"
  }
}

// Browsers send the origin only with a POST. This one has no session, so it does nothing.
async function refusesOrigin(path) {
  try {
    const answer = await fetch(`${path}/longpoll?vsn=2.0.0`, {method: "POST", cache: "no-store"})
    return answer.status === 403 || (await answer.json()).status === 403
  } catch {
    return false // unknown without long polling
  }
}

/** The text for each state that explainer shows. */
export const STATES = {connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting", stuck: "Not connected"}

/**
 * Returns a function to pass to connect(). It calls show(state, reason). The state is "stuck" if trying again does not help. The
 * reason is a key of WORDS, or null while there is a connection or nothing is known.
 */
export function explainer(socket, path, show) {
  let state = "connecting", reason = null, asking = false
  const tell = () => show(state === "reconnecting" && reason && !PASSING.includes(reason) ? "stuck" : state, reason)
  const explain = async () => {
    if (asking || socket.isConnected()) return
    asking = true
    const found = await whyNot(path)
    asking = false
    if (socket.isConnected()) return
    reason = found
    tell()
  }
  document.addEventListener("visibilitychange", explain)
  return next => {
    state = next
    if (state === "connected") reason = null
    tell()
    if (state === "reconnecting") explain()
  }
}
