// Who is here: a list, and the threads that join its people to the edge of the stream. A message runs along them, from
// who sent it to everybody else.

import {hueOf} from "./identity.js"
import {element} from "./stream.js"

const SVG = "http://www.w3.org/2000/svg"

// A line that is a little different for each name, and always the same for one.
const sway = name => (hueOf(name + "~") / 360 - 0.5) * 2

function thread(from, to, bend, upright) {
  const middle = upright
    ? `C ${from.x} ${to.y - 4 + bend * 3}, ${from.x + 6} ${to.y + bend * 4}, ${to.x} ${to.y}`
    : `C ${to.x - 4 + bend * 3} ${from.y}, ${to.x + bend * 4} ${from.y + 5}, ${to.x} ${to.y}`
  return `M ${from.x} ${from.y} ${middle}`
}

export class People {
  /** box holds the list and the drawing; count is where their number stands. */
  constructor(box, list, count) {
    this.box = box
    this.list = list
    this.count = count
    this.rows = new Map() // name → {row, badge, path}
    this.drawing = document.createElementNS(SVG, "svg")
    this.drawing.setAttribute("class", "threads")
    this.drawing.setAttribute("aria-hidden", "true")
    list.before(this.drawing)
    new ResizeObserver(() => this.draw()).observe(list)
    this.calm = matchMedia("(prefers-reduced-motion: reduce)")
  }

  /** Shows who is there: `here` is a map of name → number of tabs, `self` the name of this window. */
  show(here, self) {
    const names = [...here.keys()].sort((a, b) => (b === self) - (a === self) || a.localeCompare(b))
    for (const name of [...this.rows.keys()]) if (!here.has(name)) this.remove(name)
    names.forEach((name, index) => {
      const {row, badge, you} = this.rows.get(name) ?? this.add(name)
      const tabs = here.get(name)
      you.hidden = name !== self
      badge.hidden = tabs < 2
      badge.firstChild.textContent = `×${tabs}`
      badge.lastChild.textContent = ` (${tabs} windows)`
      badge.title = `${tabs} windows`
      if (this.list.children[index] !== row) this.list.insertBefore(row, this.list.children[index] ?? null)
    })
    this.count.textContent = String(names.length)
    this.draw()
  }

  add(name) {
    const row = element("li", "person")
    row.style.setProperty("--hue", hueOf(name))
    const dot = element("span", "dot")
    dot.setAttribute("aria-hidden", "true")
    const text = element("bdi", "name", name)
    text.title = name
    const you = element("span", "you", "you")
    const badge = element("span", "tabs")
    const spoken = element("span", "visually-hidden")
    badge.append(element("span", ""), spoken)
    badge.firstChild.setAttribute("aria-hidden", "true")
    row.append(dot, text, you, badge)
    const path = document.createElementNS(SVG, "path")
    path.setAttribute("pathLength", "1")
    path.style.setProperty("--hue", hueOf(name))
    this.drawing.append(path)
    const entry = {row, dot, badge, you, path}
    this.rows.set(name, entry)
    return entry
  }

  remove(name) {
    const {row, path} = this.rows.get(name)
    row.remove()
    path.remove()
    this.rows.delete(name)
  }

  // The threads follow the list wherever its style puts it: down the side on a wide screen, along the top on a phone.
  draw() {
    const box = this.drawing.getBoundingClientRect()
    if (box.width === 0) return
    const upright = getComputedStyle(this.list).flexDirection === "column"
    for (const [name, {dot, path}] of this.rows) {
      const at = dot.getBoundingClientRect()
      const to = {x: at.x + at.width / 2 - box.x, y: at.y + at.height / 2 - box.y}
      const bend = sway(name)
      const from = upright ? {x: 0, y: to.y - 24 - bend * 8} : {x: to.x - 20 - bend * 6, y: 0}
      path.setAttribute("d", thread(from, to, bend, upright))
    }
  }

  /** A message passes: out of the sender's thread, into all others. */
  pulse(sender) {
    if (this.calm.matches || document.hidden) return
    const timing = {duration: 700, easing: "ease-out"}
    for (const [name, {path, dot}] of this.rows) {
      const out = name === sender
      const delay = out ? 0 : 350
      const lit = {strokeDasharray: "0.35 1", stroke: "var(--glow)", strokeWidth: "2px"}
      path.animate(
        [{...lit, strokeDashoffset: out ? -1 : 0.35}, {...lit, strokeDashoffset: out ? 0.35 : -1}],
        {...timing, delay},
      )
      dot.animate([{}, {boxShadow: "0 0 0 5px var(--halo)"}, {}], {...timing, delay: out ? 0 : delay + 350})
    }
  }
}
