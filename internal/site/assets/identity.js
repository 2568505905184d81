// The name and the room of this window. Each window keeps its own name, so that two windows of one browser can be
// two people. A new window starts with the last name chosen.

const LAST_NAME = "mycelium.name"
const MAX_NAME = 32
const MAX_ROOM = 64

const FIRST = [
  "Amber", "Ashen", "Bright", "Calm", "Clear", "Dewy", "Early", "Gentle", "Golden", "Hazel", "Ivory", "Kind", "Late",
  "Mellow", "Mossy", "Pale", "Patient", "Quiet", "Russet", "Silver", "Slow", "Soft", "Sunlit", "Velvet", "Wild", "Windy",
]
const LAST = [
  "Alder", "Aspen", "Birch", "Bolete", "Bracken", "Cedar", "Chanterelle", "Fern", "Hazel", "Heather", "Inkcap", "Juniper",
  "Larch", "Lichen", "Maple", "Morel", "Moss", "Oak", "Parasol", "Pine", "Puffball", "Rowan", "Spruce", "Truffle", "Willow",
]

const pick = list => list[Math.floor(Math.random() * list.length)]

export const randomName = () => `${pick(FIRST)} ${pick(LAST)}`

/** tidyName makes a name valid: one line of at most 32 characters, "" if nothing is left. */
export const tidyName = name => [...String(name).replace(/\s+/gu, " ").trim()].slice(0, MAX_NAME).join("").trim()

/** tidyRoom makes a room valid as the part of a topic after "room:", "" if nothing is left. */
export const tidyRoom = room => [...String(room).replace(/\s+/gu, "-").replace(/^-+|-+$/g, "")].slice(0, MAX_ROOM).join("")

// A browser may refuse storage (private windows, blocked cookies). Then the name lasts as long as the window.
function stored(storage) {
  try { return tidyName(window[storage].getItem(LAST_NAME) ?? "") } catch { return "" }
}

function store(storage, name) {
  try { window[storage].setItem(LAST_NAME, name) } catch { /* see stored */ }
}

const hash = () => new URLSearchParams(location.hash.slice(1))

/** Returns the name in the address ("#as=…", for a second window), or else this window's, the last one chosen, or a new one. */
export function startingName() {
  const name = tidyName(hash().get("as") ?? "") || stored("sessionStorage")
  if (name) {
    store("sessionStorage", name)
    return name
  }
  const last = stored("localStorage") || randomName()
  rememberName(last)
  return last
}

export function rememberName(name) {
  store("sessionStorage", name)
  store("localStorage", name)
}

/** Returns the room in the address ("#room=lobby"), or "lobby". */
export const roomInAddress = () => tidyRoom(hash().get("room") ?? "") || "lobby"

export const addressOf = (room, name) => "#" + new URLSearchParams(name ? {room, as: name} : {room})

/** hueOf returns the colour of a name, the same in every window. */
export function hueOf(name) {
  let hash = 2166136261 // FNV-1a
  for (const character of String(name)) hash = Math.imul(hash ^ character.codePointAt(0), 16777619)
  return (hash >>> 0) % 360
}
