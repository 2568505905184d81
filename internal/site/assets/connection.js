// What the pages add to phoenix.js, which is npm's, unmodified: replies as promises, and the state of the connection as a word.

/** Why a push was not answered with ok. `reason` is "timeout", "disconnected" or "error"; an error has the server's `response`. */
export class PushError extends Error {
  constructor(reason, response = {}) {
    super(reason === "error" ? JSON.stringify(response) : reason)
    this.reason = reason
    this.response = response
  }
}

/**
 * Pushes on a joined channel: resolves with the response of an ok reply, or rejects with a PushError. phoenix.js keeps a push
 * without a connection and sends it later; here it is rejected, so that callers know what has arrived.
 */
export function request(channel, event, payload = {}) {
  if (channel.state !== "joined" || !channel.socket.isConnected()) return Promise.reject(new PushError("disconnected"))
  return new Promise((resolve, reject) => {
    const lost = ["phx_error", "phx_close"].map(end => [end, channel.on(end, () => settle(reject, new PushError("disconnected")))])
    function settle(how, value) {
      for (const binding of lost) channel.off(...binding)
      how(value)
    }
    channel.push(event, payload)
      .receive("ok", response => settle(resolve, response))
      .receive("error", response => settle(reject, new PushError("error", response)))
      .receive("timeout", () => settle(reject, new PushError("timeout")))
  })
}

const WORDS = {
  timeout: "the server did not answer",
  disconnected: "not connected",
  "unmatched topic": "this topic does not exist here; the instance may be of another type",
}

/** Returns, in words, the reason of a PushError or of the reply to a refused join. */
export function reasonOf({reason, response}) {
  const why = response?.reason ?? reason
  return WORDS[why] ?? why ?? "no reason given"
}

/** Joins. A channel rejoins by itself: joined(response) is called for each join that succeeds, refused(reason) for each that fails. */
export function join(channel, {joined = () => {}, refused = () => {}} = {}) {
  channel.join()
    .receive("ok", joined)
    .receive("error", response => refused(reasonOf(response)))
    .receive("timeout", () => refused(reasonOf({reason: "timeout"})))
}

/**
 * How long phoenix.js waits before it connects again, in milliseconds: its own steps, half as long to half as long again. Without
 * chance, everybody who was cut off at the same moment would come back at the same moment, again and again.
 */
export function reconnectAfterMs(tries) {
  const step = [10, 50, 100, 150, 200, 250, 500, 1000, 2000][tries - 1] ?? 5000
  return step * (0.5 + Math.random())
}

/** Connects. onState(state) is called with "connecting", "connected" and "reconnecting". */
export function connect(socket, onState) {
  onState("connecting")
  socket.onOpen(() => onState("connected"))
  socket.onClose(() => onState("reconnecting"))
  socket.connect()
}
