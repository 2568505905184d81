// The field of snakes, drawn on a canvas: a state, updated by ticks.

import {request} from "./connection.js"

const HUES = [160, 45, 260, 20, 310, 210, 95, 340] // by seat

const color = (seat, lightness) => `oklch(${lightness} 0.13 ${HUES[seat % HUES.length]})`

export class Snakes {
  /** scored() is called when somebody has eaten, died or begun. */
  constructor(canvas, channel, scored) {
    Object.assign(this, {canvas, channel, scored, world: null, n: 0})
    channel.on("tick", tick => this.tick(tick))
    this.dark = matchMedia("(prefers-color-scheme: dark)")
    new ResizeObserver(() => this.draw()).observe(canvas)
  }

  /** Sets the whole state, after tick n. */
  reset({n, world}) {
    Object.assign(this, {n, world})
    this.canvas.hidden = false
    this.draw()
  }

  tick({n, delta}) {
    if (!this.world || n <= this.n) return
    if (n !== this.n + 1) return this.again()
    this.n = n
    const {snakes} = this.world
    let told = Boolean(delta.died || delta.born)
    for (const seat of [...delta.left ?? [], ...delta.died ?? []]) delete snakes[seat]
    for (const [seat, {head, tail, score}] of Object.entries(delta.moved ?? {})) {
      snakes[seat].body.unshift(head)
      if (tail > 0) snakes[seat].body.splice(-tail)
      told ||= score !== snakes[seat].score
      snakes[seat].score = score
    }
    for (const [seat, snake] of Object.entries(delta.born ?? {})) snakes[seat] = snake
    if (delta.food) this.world.food = delta.food
    if (told) this.scored()
    this.draw()
  }

  // Asks for the whole state, because a tick is missing.
  async again() {
    this.world = null
    try {
      this.reset(await request(this.channel, "state"))
    } catch { /* the next join brings it */ }
  }

  score(seat) { return this.world?.snakes[seat]?.score ?? 0 }

  paint(node, seat) { node.style.background = color(seat, this.dark.matches ? 0.78 : 0.55) }

  draw() {
    if (!this.world || this.canvas.hidden) return
    const {width, height, food, snakes} = this.world
    const box = this.canvas.getBoundingClientRect()
    const scale = devicePixelRatio || 1
    this.canvas.width = box.width * scale
    this.canvas.height = box.height * scale
    const cell = Math.min(this.canvas.width / width, this.canvas.height / height)
    const pen = this.canvas.getContext("2d")
    const dot = ([x, y], size, fill) => {
      pen.fillStyle = fill
      pen.beginPath()
      pen.roundRect((x + (1 - size) / 2) * cell, (y + (1 - size) / 2) * cell, size * cell, size * cell, size * cell * 0.35)
      pen.fill()
    }
    dot(food, 0.6, this.dark.matches ? "#f0b35c" : "#c2410c")
    const lightness = this.dark.matches ? 0.78 : 0.55
    for (const [seat, {body}] of Object.entries(snakes)) {
      body.forEach((place, at) => dot(place, at === 0 ? 0.98 : 0.82, color(seat, at === 0 ? lightness - 0.12 : lightness)))
    }
  }
}
