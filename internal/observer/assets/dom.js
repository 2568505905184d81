/** Makes an element: h("p", {class: "x", onclick: f}, "text", child). */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value)
    else if (value === true) element.setAttribute(key, "")
    else if (value !== false && value !== undefined) element.setAttribute(key, value)
  }
  element.append(...children.filter(c => c !== undefined && c !== null))
  return element
}

export const $ = id => document.getElementById(id)

let hiding

/** Shows a message for a while: what has happened or failed. */
export function say(text) {
  $("toast").textContent = text
  $("toast").hidden = false
  clearTimeout(hiding)
  hiding = setTimeout(() => { $("toast").hidden = true }, 6000)
}
