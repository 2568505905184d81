// The nodes of the cluster as this node sees them: a table, and a picture of what flows between this node and the others.

import {h, $} from "./dom.js"
import {bytes, counted, short} from "./chart.js"

const WIDTH = 340
const SVG = "http://www.w3.org/2000/svg"
const LABELLED = 12 // nodes; the names of more would overlap

let drawn = "" // the names of the nodes in the picture, this one first

/** Shows the cluster of a sample, undefined if there is none. now is the server's time in ms. */
export function showCluster(cluster, now) {
  $("cluster").hidden = !cluster
  if (!cluster) return
  $("cluster-name").textContent = cluster.name
  $("cluster-size").textContent = counted(cluster.nodes.length, "node")
  const trouble = problem(cluster)
  $("cluster-trouble").hidden = !trouble
  $("cluster-trouble").textContent = trouble
  $("nodes").replaceChildren(...cluster.nodes.map(node => row(node, now)))
  picture(cluster.nodes)
}

/** Returns what is wrong with the cluster as a whole, the worst first. */
function problem(cluster) {
  const clock = cluster.nodes.find(n => Math.abs(n.ahead_seconds ?? 0) > 2)
  if (!cluster.connected) return `NATS cannot be reached; ${bytes(cluster.waiting_bytes)} wait for it`
  if (cluster.store) return `The store of instances is not reached: ${cluster.store}`
  if (cluster.store_behind) return `The store of instances is not complete here: ${cluster.store_behind}`
  if (clock) return `The clock of ${clock.name} is ${Math.abs(clock.ahead_seconds).toFixed(1)} s ${clock.ahead_seconds > 0 ? "ahead of" : "behind"} this one's`
  return ""
}

function row(n, now) {
  const number = (value, name) => h("td", {class: name ? `number ${name}` : "number"}, value)
  return h("tr", {"data-node": n.name},
    h("th", {scope: "row", title: n.address ?? ""}, n.name, n.self ? h("span", {class: "count"}, " this one") : null),
    h("td", {}, h("span", {class: "pill", "data-state": n.state}, n.draining && n.state === "up" ? "draining" : n.state)),
    h("td", {class: "number", title: `since ${new Date(n.since).toLocaleString()}`}, elapsed((now - Date.parse(n.since)) / 1000)),
    number(short(n.sockets)), number(short(n.entries), "wide"), number(n.self ? "–" : short(n.behind), "wide"),
    number(n.self ? "–" : short(n.lost), n.lost > 0 ? "bad" : ""), number(short(n.resent), "wide"), h("td", {class: "wide"}, n.version || "–"))
}

/** 75 is "1 min". */
function elapsed(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`
  }
  return `${Math.max(0, Math.floor(seconds))} s`
}

/** Redraws the picture when nodes come or go. Otherwise it changes the elements, so that the flow does not jump every second. */
function picture(nodes) {
  const svg = $("nodes-picture")
  const self = nodes.find(n => n.self)
  const others = nodes.filter(n => !n.self)
  const names = JSON.stringify([self.name, ...others.map(n => n.name)])
  if (names !== drawn) {
    const {height, center, around} = places(others.length)
    drawn = names
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`)
    svg.replaceChildren(
      ...others.flatMap((n, i) => [flow("out", center, around[i], n.name), flow("in", around[i], center, n.name)]),
      ...others.map((n, i) => node(n, around[i], others.length)), node(self, center, 0))
  }
  const most = Math.max(1, ...nodes.map(n => n.sockets))
  for (const n of nodes) {
    const g = svg.querySelector(`g[data-node="${CSS.escape(n.name)}"]`)
    g.dataset.state = n.state
    g.querySelector("circle").setAttribute("r", (9 + 6 * Math.sqrt(n.sockets / most)).toFixed(1))
    g.querySelector(".rate").textContent = n.state === "up" ? `${short(n.entries)}/s` : n.state
    if (n.self) continue
    for (const [direction, rate] of [["out", self.entries], ["in", n.entries]]) {
      move(svg.querySelector(`path.${direction}[data-to="${CSS.escape(n.name)}"]`), n.state, n.state === "up" ? rate : 0)
    }
  }
  svg.setAttribute("aria-label", `${self.name} sends ${short(self.entries)} entries a second; ` +
    (others.map(n => n.state === "up" ? `${n.name} sends ${short(n.entries)}` : `${n.name} is ${n.state}`).join("; ") || "there is no other node"))
}

/** Places this node in the middle and the others around it, or two nodes side by side. */
function places(n) {
  const at = (x, y) => ({x, y})
  if (n < 2) return {height: 100, center: at(n ? 75 : WIDTH / 2, 40), around: [at(WIDTH - 75, 40)]}
  const center = at(WIDTH / 2, 89)
  return {height: 208, center, around: Array.from({length: n}, (_, i) => {
    const angle = Math.PI * (1 + 2 * i / n)
    return at(center.x + 125 * Math.cos(angle), center.y + 66 * Math.sin(angle))
  })}
}

function element(name, attributes, ...children) {
  const e = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value)
  e.append(...children)
  return e
}

function node(n, {x, y}, others) {
  const name = n.name.length > 16 ? `${n.name.slice(0, 15)}…` : n.name
  return element("g", {class: n.self ? "node self" : "node", "data-node": n.name, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`},
    element("title", {}, n.name), element("circle", {r: 9}),
    element("text", {y: 28}, others > LABELLED ? "" : name), element("text", {class: "rate", y: others > LABELLED ? 24 : 41}))
}

/** A line from a to b, bent to its right so that it does not overlap the line back. */
function flow(direction, a, b, name) {
  const [dx, dy] = [b.x - a.x, b.y - a.y]
  const length = Math.hypot(dx, dy)
  const [x, y] = [(a.x + b.x) / 2 - 16 * dy / length, (a.y + b.y) / 2 + 16 * dx / length]
  return element("path", {class: `flow ${direction}`, "data-to": name, d: `M${a.x.toFixed(1)} ${a.y.toFixed(1)}Q${x.toFixed(1)} ${y.toFixed(1)} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`})
}

/** Makes a line wider and faster the more flows: a step for each factor of ten. */
function move(path, state, rate) {
  const step = rate > 0 ? Math.max(1, Math.ceil(Math.log10(rate + 1))) : 0
  path.dataset.state = state
  path.classList.toggle("moving", step > 0)
  if (path.dataset.step === String(step)) return
  path.dataset.step = step
  path.style.strokeWidth = step ? `${1 + step}px` : ""
  path.style.setProperty("--pace", `${(1.6 / (step || 1)).toFixed(2)}s`)
}
