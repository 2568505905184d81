// What browsers have and Node 20 does not, for packages that were written only for browsers. The packages are unchanged.

import {WebSocket} from "ws"

/** The part of XMLHttpRequest that phoenix's long polling uses. */
class XMLHttpRequest {
  readyState = 0
  status = 0
  responseText = ""
  timeout = 0
  #aborter = new AbortController()
  #headers = {}

  open(method, url) { this.method = method; this.url = url; this.readyState = 1 }

  setRequestHeader(name, value) { this.#headers[name] = value }

  send(body) {
    const timer = this.timeout && setTimeout(() => this.#end(() => this.ontimeout?.()), this.timeout)
    this.#request(body).finally(() => clearTimeout(timer))
  }

  // An aborted request calls nothing. phoenix never reads the readyState in between.
  abort() { this.#end(() => {}) }

  async #request(body) {
    const answer = await fetch(this.url, {method: this.method, headers: this.#headers, body, signal: this.#aborter.signal})
      .then(async response => ({status: response.status, text: await response.text()}))
      .catch(() => undefined) // only of the network: what the client throws below is not caught
    this.#end(() => {
      this.status = answer?.status ?? 0
      this.responseText = answer?.text ?? ""
      this.readyState = 4
      this.onreadystatechange?.()
      if (!answer) this.onerror?.()
    })
  }

  #end(tell) {
    if (this.#aborter.signal.aborted || this.readyState === 4) return
    tell()
    this.#aborter.abort()
  }
}

/** Makes this process look like a window to old clients. */
export function installBrowserGlobals() {
  Object.assign(globalThis, {XMLHttpRequest, WebSocket})
  globalThis.window = {XMLHttpRequest, WebSocket, addEventListener() {}}
}
