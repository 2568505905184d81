// The list of people, and the threads that connect them to the edge of the stream. A message runs along the threads, from
// its sender to everybody else.

import {hueOf} from "./identity.js"
import {element} from "./stream.js"

const SVG = "http://www.w3.org/2000/svg"

// The bend of a thread: a little different for each name, and always the same for one name.
const sway = name => (hueOf(name + "~") / 360 - 0.5) * 2

function thread(from, to, bend, upright) {
  const middle = upright
    ? `C ${from.x} ${to.y - 4 + bend * 3}, ${from.x + 6} ${to.y + bend * 4}, ${to.x} ${to.y}`
    : `C ${to.x - 4 + bend * 3} ${from.y}, ${to.x + bend * 4} ${from.y + 5}, ${to.x} ${to.y}`
  return `M ${from.x} ${from.y} ${middle}`
}

export class People {
  /** box contains the list and the drawing; count shows how many there are. */
  constructor(box, list, count) {
    this.box = box
    this.list = list
    this.count = count
    this.rows = new Map() // name → its elements; `light` is a copy of the thread `path`, seen while a message passes
    this.drawing = document.createElementNS(SVG, "svg")
    this.drawing.setAttribute("class", "threads")
    this.drawing.setAttribute("aria-hidden", "true")
    list.before(this.drawing)
    new ResizeObserver(() => this.draw()).observe(list)
    list.addEventListener("scroll", () => this.draw(), {passive: true})
    this.calm = matchMedia("(prefers-reduced-motion: reduce)")
  }

  /** Shows who is present. `here` is a map of name → number of tabs, `self` the name of this window. */
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
    const light = document.createElementNS(SVG, "path")
    light.setAttribute("class", "light")
    for (const line of [path, light]) line.setAttribute("pathLength", "1")
    this.drawing.append(path, light)
    const entry = {row, dot, badge, you, path, light}
    this.rows.set(name, entry)
    return entry
  }

  remove(name) {
    const {row, path, light} = this.rows.get(name)
    for (const node of [row, path, light]) node.remove()
    this.rows.delete(name)
  }

  // The threads follow the list wherever its style puts it: at the side of a wide screen, at the top of a phone's.
  draw() {
    const box = this.drawing.getBoundingClientRect()
    if (box.width === 0) return
    const upright = getComputedStyle(this.list).flexDirection === "column"
    const seen = this.list.getBoundingClientRect()
    for (const [name, {dot, path, light}] of this.rows) {
      const at = dot.getBoundingClientRect()
      const to = {x: at.x + at.width / 2 - box.x, y: at.y + at.height / 2 - box.y}
      const bend = sway(name)
      const from = upright ? {x: 0, y: to.y - 24 - bend * 8} : {x: to.x - 20 - bend * 6, y: 0}
      const inside = at.left >= seen.left && at.right <= seen.right && at.top >= seen.top && at.bottom <= seen.bottom
      for (const line of [path, light]) {
        line.style.visibility = inside ? "visible" : "hidden"
        line.setAttribute("d", thread(from, to, bend, upright))
      }
    }
  }

  /** Shows that a message passes from the sender's thread into all others. */
  pulse(sender) {
    if (this.calm.matches || document.hidden) return
    const timing = {duration: 700, easing: "ease-out"}
    const start = {opacity: 1, strokeDashoffset: 0.35}, end = {opacity: 1, strokeDashoffset: -1}
    for (const [name, {light, dot}] of this.rows) {
      const out = name === sender
      const delay = out ? 0 : 350
      light.animate(out ? [end, start] : [start, end], {...timing, delay})
      dot.animate([{}, {boxShadow: "0 0 0 5px var(--halo)"}, {}], {...timing, delay: out ? 0 : delay + 350})
    }
  }
}
