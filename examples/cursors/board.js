// A board on which everybody sees everybody's cursor, with supabase-js as it comes from npm. Presence says who is here;
// cursors are broadcasts, which nobody keeps.

import { createClient } from "@supabase/supabase-js"

const params = new URLSearchParams(location.search)
const server = params.get("server") ?? "http://localhost:4000"
const name = params.get("name") ?? `guest ${Math.floor(Math.random() * 900 + 100)}`
const id = crypto.randomUUID() // one person may have several windows
const hue = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7)
const color = `hsl(${hue} 65% 30%)`

const [board, people, state] = ["board", "people", "state"].map(id => document.getElementById(id))

const supabase = createClient(server, params.get("key") ?? "any-key")
const channel = supabase.channel("cursors", { config: { presence: { key: id } } })

channel.on("presence", { event: "sync" }, () => {
  const here = Object.entries(channel.presenceState()).map(([key, [meta]]) => ({ key, ...meta }))
  here.sort((a, b) => a.name.localeCompare(b.name))
  people.replaceChildren(...here.map(({ name, color }) => {
    const item = document.createElement("li")
    item.textContent = name
    item.style.background = color
    return item
  }))
  const keys = here.map(({ key }) => key)
  for (const cursor of board.querySelectorAll(".cursor")) if (!keys.includes(cursor.dataset.key)) cursor.remove()
})

channel.on("broadcast", { event: "cursor" }, ({ payload: { key, name, color, x, y } }) => {
  const cursor = cursorOf(key, name, color)
  cursor.style.left = `${x * 100}%`
  cursor.style.top = `${y * 100}%`
})

function cursorOf(key, name, color) {
  let cursor = board.querySelector(`[data-key="${CSS.escape(key)}"]`)
  if (cursor) return cursor
  cursor = document.createElement("div")
  cursor.className = "cursor"
  cursor.dataset.key = key
  cursor.innerHTML = `<svg width="18" height="22" viewBox="0 0 18 22"><path d="M1 1l15 11-7 1-4 7z" fill="currentColor" stroke="#fff"/></svg><span></span>`
  cursor.style.color = color
  const label = cursor.querySelector("span")
  label.textContent = name
  label.style.background = color
  board.append(cursor)
  return cursor
}

// At most 25 messages a second, and always the last position.
let due = false
let at
board.addEventListener("pointermove", event => {
  const { left, top, width, height } = board.getBoundingClientRect()
  at = { x: (event.clientX - left) / width, y: (event.clientY - top) / height }
  if (due || state.textContent !== "connected") return
  due = true
  setTimeout(() => {
    due = false
    channel.send({ type: "broadcast", event: "cursor", payload: { key: id, name, color, ...at } })
  }, 40)
})

channel.subscribe(async status => {
  state.textContent = status === "SUBSCRIBED" ? "connected" : "connecting"
  if (status === "SUBSCRIBED") await channel.track({ name, color })
})
