// The example code for connecting, with this page's address and room, and the button that copies it.

/** Fills each element that has data-fill="name" with the value of that name. */
export function fill(values) {
  for (const node of document.querySelectorAll("[data-fill]")) {
    const value = values[node.dataset.fill]
    if (value !== undefined) node.textContent = value
  }
}

/** Makes the button copy the text of `code`, or select it if the browser does not allow the clipboard. */
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
