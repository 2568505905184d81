// Area charts of the last five minutes: a path for each series, in an SVG with fixed units that stretches with its box.

const WIDTH = 300
const HEIGHT = 64
const LEAST = 60 // the least width in seconds: the charts of a new server fill from the right
const SVG = "http://www.w3.org/2000/svg"

/** Draws series ({name, values}, newest last) into svg on a common scale. Returns the top of the scale. */
export function draw(svg, series, unit) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`)
  svg.setAttribute("preserveAspectRatio", "none")
  const top = Math.max(1, ...series.flatMap(s => s.values))
  svg.replaceChildren(...series.flatMap(s => shapes(s, top)))
  const last = series.map(s => `${s.name} ${unit(s.values.at(-1) ?? 0)}`).join(", ")
  svg.setAttribute("aria-label", `The last minutes; now ${last}; up to ${unit(top)}`)
  return `up to ${unit(top)}`
}

function shapes({name, values}, top) {
  const step = WIDTH / Math.max(LEAST, values.length - 1)
  const points = values.map((v, i) => [WIDTH - (values.length - 1 - i) * step, HEIGHT - 2 - (v / top) * (HEIGHT - 6)])
  if (points.length === 0) return []
  const line = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("")
  const area = `${line}L${points.at(-1)[0]} ${HEIGHT}L${points[0][0]} ${HEIGHT}Z`
  return [path(area, `area ${name}`), path(line, `line ${name}`)]
}

function path(d, className) {
  const p = document.createElementNS(SVG, "path")
  p.setAttribute("d", d)
  p.setAttribute("class", className)
  return p
}

/** 1234567 is "1.23 M". */
export function short(n) {
  for (const [size, letter] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (n >= size) return (n / size).toPrecision(3) + letter
  }
  return n < 10 && n % 1 ? n.toFixed(1) : String(Math.round(n))
}

/** 1 is "1 client", 1500 is "1.50 k clients". */
export const counted = (n, one, many = `${one}s`) => `${short(n)} ${n === 1 ? one : many}`

export const bytes = n => n < 1000 ? `${short(n)} B` : `${short(n)}B`
