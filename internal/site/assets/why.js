// Why a page has no connection, and what to do about it. A browser does not tell a page why a WebSocket failed, so the page
// asks for the socket's address without one: the server checks everything else first.

/** Words for each reason that whyNot finds. */
export const WORDS = {
  hidden: () => "This page is hidden and reconnects when it is shown.",
  silent: () => "The server does not answer. This page keeps trying.",
  busy: () => "The server takes no new connections: it is starting, stopping or busy. This page keeps trying.",
  missing: () => "There is no socket at this address. The option path may have moved it.",
  refused: () => "The server asks for a token, and this page has none. Your own client can send one.",
  origin: () => `The server refuses pages from ${location.origin}. Allow this origin with the option check_origin. ` +
    "If a proxy is in between, make it pass on the Host header.",
  blocked: () => "The server answers, but the WebSocket does not open. If a proxy is in between, make it pass on WebSocket upgrades.",
}

/** Reasons that end by themselves. */
export const PASSING = ["hidden", "silent", "busy"]

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

// The origin goes along with a POST only. This one is for no session, so that nothing comes of it.
async function refusesOrigin(path) {
  try {
    const answer = await fetch(`${path}/longpoll?vsn=2.0.0`, {method: "POST", cache: "no-store"})
    return answer.status === 403 || (await answer.json()).status === 403
  } catch {
    return false // without long polling it cannot be told
  }
}

/**
 * Finds out why a socket is not connected, as long as it is not, and tells: tell(reason), null once it is connected. The
 * returned function takes each state that connect() tells.
 */
export function explainer(socket, path, tell) {
  let asking = false
  const explain = async () => {
    if (asking || socket.isConnected()) return
    asking = true
    const reason = await whyNot(path)
    asking = false
    if (!socket.isConnected()) tell(reason)
  }
  document.addEventListener("visibilitychange", explain)
  return state => {
    if (state === "connected") tell(null)
    if (state === "reconnecting") explain()
  }
}
