// Publishes rising numbers on a topic over HTTP, a hundred in a second.

import http from "node:http"
import {setTimeout as pause} from "node:timers/promises"

const EVERY_MS = 10
const MOST_BEHIND = 500 // numbers; clients that ask for the last thousand must not be away for longer

/** A body for the API's broadcast, of a number for phoenix.js. */
export const plain = (topic, n) => ({topic, event: "n", payload: {n, at: Date.now()}})

/** The same for Supabase's clients. */
export const wrapped = (topic, n) => ({topic, event: "broadcast", payload: {type: "broadcast", event: "n", payload: {n, at: Date.now()}}})

export class Publisher {
  /** server() returns the server to publish on. */
  constructor(server, topic, body = plain) {
    this.server = server
    this.topic = topic
    this.body = body
    this.sent = 0 // numbers that were answered
    this.followers = [] // travellers, for whom it waits
    this.agent = new http.Agent({keepAlive: true})
    this.over = false
    this.failure = undefined // why it has ended
  }

  start() { this.running = this.run().catch(error => { this.failure = error }) }

  async run() {
    for (let due = performance.now(); !this.over; due = Math.max(due + EVERY_MS, performance.now() - 1000)) {
      while (this.followers.some(one => one.waits && this.sent - one.next > MOST_BEHIND) && !this.over) {
        await pause(EVERY_MS)
        due = performance.now()
      }
      await this.publish(this.sent)
      this.sent++
      const early = due + EVERY_MS - performance.now()
      if (early > 0) await pause(early)
    }
  }

  /** Publishes a number; resolves when the server has answered. */
  async publish(n) {
    const server = this.server()
    const headers = {...await server.headers({"Content-Type": "application/json"}), Connection: "keep-alive"}
    const body = JSON.stringify(this.body(this.topic, n))
    const status = await new Promise((resolve, reject) => {
      const request = http.request(`${server.http}/api/instances/default/broadcast`, {method: "POST", headers, agent: this.agent}, answer => {
        answer.on("error", reject).on("end", () => resolve(answer.statusCode)).resume()
      })
      request.on("error", reject).end(body)
    })
    if (status >= 300) throw new Error(`publishing ${body}: ${status}`)
  }

  async stop() {
    this.over = true
    await this.running
    this.agent.destroy()
  }
}
