// The HTTP API, with the key of this tab.

import {home} from "../assets/place.js"

const STORED = "mycelium-key"

export const key = () => sessionStorage.getItem(STORED) ?? ""
export const setKey = value => sessionStorage.setItem(STORED, value)

/** Takes the key out of the address. The link that the server prints has it after the #, which is not sent to the server. */
export function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key")
  if (!given) return false
  setKey(given)
  history.replaceState(null, "", location.pathname + location.search)
  return true
}

/** The problem (RFC 9457) with which the server answered. */
export class Problem extends Error {
  constructor(problem, status) {
    super(problem.detail ?? `the server answered ${status}`)
    this.status = status
    this.errors = problem.errors ?? []
  }
}

/** Calls the API and returns the JSON of the answer, or null if it has none. */
export async function call(method, path, body, headers = {}) {
  if (key()) headers.Authorization = `Bearer ${key()}`
  if (body !== undefined) headers["Content-Type"] = "application/json"
  const answer = await fetch(`${home.pathname}api${path}`, {method, headers, body: body === undefined ? undefined : JSON.stringify(body)})
  const text = await answer.text()
  if (!answer.ok) throw new Problem(parsed(text) ?? {}, answer.status)
  return text ? parsed(text) : null
}

/** Returns why the observer refuses this key, or "". */
export async function refusal() {
  const answer = await fetch(`${home.pathname}observer/access`, {headers: {Authorization: `Bearer ${key()}`}})
  return answer.ok ? "" : (await answer.text()).trim()
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

export const instance = (id, ...of) => ["/instances", encodeURIComponent(id), ...of].join("/")
