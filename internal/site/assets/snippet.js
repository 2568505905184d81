// The code to connect with, carrying this page's own address and room, and the button that copies it.

/** Fills every element marked data-fill="name" with what `values` has under that name. */
export function fill(values) {
  for (const node of document.querySelectorAll("[data-fill]")) {
    const value = values[node.dataset.fill]
    if (value !== undefined) node.textContent = value
  }
}

/** The button copies the text of `code`; where the browser has no clipboard for us, it selects it. */
export function copyable(button, code, status) {
  button.hidden = false
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent)
      status.textContent = "Copied"
    } catch {
      getSelection().selectAllChildren(code)
      status.textContent = "Selected: press Ctrl+C or ⌘C"
    }
    setTimeout(() => { status.textContent = "" }, 3000)
  })
}
