// A board of cells in rows, for the pointer or the arrow keys.

export class Board {
  /** play(move) is called with the player's move: {column} if pieces fall, else {cell}. */
  constructor(box, play) {
    this.box = box
    this.play = play
    this.cells = []
    this.before = []
    this.box.addEventListener("keydown", event => this.walk(event))
  }

  /** Shows a board as the server sends it. drops: pieces fall. mine: it is our turn. */
  show(board, {drops, mine}) {
    if (this.cells.length !== board.cells.length) this.build(board)
    this.columns = board.columns
    this.drops = drops
    this.box.classList.toggle("square", !drops)
    board.cells.forEach((piece, at) => {
      const button = this.cells[at]
      const column = at % board.columns
      const free = drops ? board.cells[column] < 0 : piece < 0
      button.disabled = false
      button.setAttribute("aria-disabled", String(!mine || !free))
      button.classList.toggle("line", Boolean(board.line?.includes(at)))
      button.classList.toggle("fell", drops && piece >= 0 && this.before[at] < 0)
      button.setAttribute("aria-label", `Row ${Math.floor(at / board.columns) + 1}, column ${column + 1}: ${piece < 0 ? "empty" : piece === 0 ? "disc" : "ring"}`)
      if (piece !== this.before[at]) button.replaceChildren(...(piece < 0 ? [] : [this.piece(piece)]))
    })
    this.before = board.cells
  }

  piece(number) {
    const node = document.createElement("span")
    node.className = `piece p${number}`
    return node
  }

  build({columns, cells}) {
    this.box.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`
    this.before = []
    this.cells = cells.map((_, at) => {
      const button = document.createElement("button")
      button.type = "button"
      button.tabIndex = at === 0 ? 0 : -1 // the tab key stops once; the arrow keys move between cells
      button.addEventListener("click", () => {
        if (button.getAttribute("aria-disabled") === "true") return
        this.play(this.drops ? {column: at % this.columns} : {cell: at})
      })
      return button
    })
    this.box.replaceChildren(...this.cells)
  }

  walk(event) {
    const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns}
    const from = this.cells.indexOf(document.activeElement)
    if (from < 0 || !(event.key in steps)) return
    event.preventDefault()
    const to = from + steps[event.key]
    const leaves = Math.abs(steps[event.key]) === 1 && Math.floor(to / this.columns) !== Math.floor(from / this.columns)
    if (leaves || !this.cells[to]) return
    this.cells[from].tabIndex = -1
    this.cells[to].tabIndex = 0
    this.cells[to].focus()
  }
}
