// The example of the type "game": a table with turns and clocks, or a field that ticks, depending on the instance's rules.

import {Board} from "./board.js"
import {join, reasonOf, request} from "./connection.js"
import {openExample, tell} from "./example.js"
import {Presence} from "./phoenix.js"
import {Snakes} from "./snakes.js"
import {element} from "./stream.js"

const LOW_MS = 20000 // clocks below this are shown as low
const ENDS = {rules: "", resign: " by resignation", flag: " on time", draw: ""}
const NAMES = {connect4: "Connect four", tictactoe: "Tic-tac-toe", snake: "Snake"}

const $ = id => document.getElementById(id)

// The token of our seat, kept for a reload. Each window has its own, so that two windows can play each other.
function keep(id, token) {
  try { sessionStorage.setItem(`mycelium.seat.${id}`, token) } catch { /* the seat lives as long as the window */ }
}

function kept(id) {
  try { return sessionStorage.getItem(`mycelium.seat.${id}`) ?? "" } catch { return "" }
}

const points = n => (n === 1 ? "1 point" : `${n} points`)

class Game {
  constructor(socket, user, id) {
    Object.assign(this, {user, id, token: kept(id), seat: null, state: null, at: 0})
    this.channel = socket.channel("game", () => ({user, seat_token: this.token})) // called for each rejoin
    this.channel.on("state", state => this.show(state))
    this.presence = new Presence(this.channel)
    this.presence.onSync(() => this.showSeats())
    this.board = new Board($("board"), move => this.push("move", move))
    this.snakes = new Snakes($("field"), this.channel, () => this.showSeats())
    this.channel.on("seats", ({seats}) => {
      if (!this.state) return
      this.state.seats = seats.map(name => ({user: name}))
      this.showSeats()
    })
    for (const event of ["sit", "stand", "draw", "resign", "rematch"]) $(event).addEventListener("click", () => this.push(event, {}))
    this.steer()
    setInterval(() => this.showClocks(), 200)
    join(this.channel, {
      joined: ({user: name, seat}) => Object.assign(this, {user: name, seat}),
      refused: reason => tell(`The game did not let us in: ${reason}.`),
    })
  }

  /** Pushes, and shows a refusal. */
  async push(event, payload) {
    tell("")
    try {
      const reply = await request(this.channel, event, payload)
      if (event === "sit") {
        this.seat = reply.seat
        if (reply.token) keep(this.id, this.token = reply.token)
      }
      if (event === "stand") this.seat = null
      this.redraw()
    } catch (error) {
      tell(`${reasonOf(error)}.`.replace(/^./, letter => letter.toUpperCase()))
    }
  }

  show(state) {
    // The reply to a move may arrive after the state of the next move.
    if (state.version < this.state?.version) return
    this.at = performance.now()
    this.state = state
    if (state.world) {
      state.seats = state.seats.map(name => ({user: name}))
      this.snakes.reset(state)
    }
    $("title").textContent = NAMES[state.rules] ?? state.rules
    document.title = `${$("title").textContent} · mycelium`
    this.redraw()
  }

  redraw() {
    if (!this.state) return
    if (!this.state.world) this.showTable()
    this.showSeats()
  }

  /** The seat of this window, or null if it was given up in another one. */
  get mySeat() {
    return this.seat !== null && this.state?.seats[this.seat]?.user === this.user ? this.seat : null
  }

  showTable() {
    const {board, turn, rules} = this.state
    $("board").hidden = !board
    if (board) this.board.show(board, {drops: rules === "connect4", mine: turn !== null && turn === this.mySeat})
  }

  showSeats() {
    if (!this.state) return
    const names = this.state.seats.map(({user}) => user)
    $("seats").replaceChildren(...names.map((name, at) => this.seatNode(name, at)))
    const watching = this.presence.list(name => name).filter(name => !names.includes(name))
    const named = watching.map(name => (name === this.user ? "you" : name))
    $("watchers").textContent = watching.length ? `Watching: ${named.join(", ")}.` : ""
    this.showVerdict()
    this.showActions(names)
    this.showClocks()
  }

  seatNode(name, at) {
    const node = element("li", "seat")
    const {turn, first} = this.state
    node.classList.toggle("turn", turn === at)
    const piece = element("span", "piece")
    if (this.state.world) this.snakes.paint(piece, at)
    else piece.classList.add(`p${(at - (first ?? 0) + this.state.seats.length) % this.state.seats.length}`)
    piece.setAttribute("aria-hidden", "true")
    const notes = []
    if (name === null) notes.push("nobody yet")
    else {
      if (at === this.mySeat) notes.push("you")
      if (!this.presence.state[name]) notes.push("away")
      if (turn === at) notes.push("to move")
      if (this.state.draw_offer === at) notes.push("offers a draw")
      if (this.state.status === "over" && this.state.seats[at].rematch) notes.push("wants a rematch")
      if (this.state.world) notes.push(points(this.snakes.score(at)))
    }
    const clock = element("span", "clock")
    clock.dataset.seat = at
    node.append(piece, element("bdi", "name", name ?? "Free seat"), element("span", "note", notes.join(" · ")), clock)
    return node
  }

  showVerdict() {
    const {status, result, turn, seats, world} = this.state
    let text = ""
    if (world) text = ""
    else if (status === "waiting") text = "Waiting for players"
    else if (status === "playing") text = turn === this.mySeat ? "Your turn" : `${seats[turn].user} is to move`
    else if (result.winner < 0) text = "A draw"
    else text = `${result.winner === this.mySeat ? "You have" : `${seats[result.winner].user ?? "The other"} has`} won${ENDS[result.reason]}`
    if ($("verdict").textContent !== text) $("verdict").textContent = text
    $("verdict").hidden = Boolean(world)
  }

  showActions(names) {
    const {status, draw_offer: offer, world} = this.state
    const mine = this.mySeat
    const seated = mine !== null
    $("sit").hidden = seated || status === "playing" || !names.includes(null)
    $("stand").hidden = !seated || status === "playing"
    $("resign").hidden = $("draw").hidden = !seated || status !== "playing"
    $("draw").textContent = offer !== null && offer !== undefined && offer !== mine ? "Accept the draw" : "Offer a draw"
    $("draw").disabled = offer === mine
    $("rematch").hidden = !seated || status !== "over"
    $("rematch").disabled = seated && Boolean(this.state.seats[mine]?.rematch)
    $("pad").hidden = !seated || !world
  }

  // The server's clocks, continued since it sent them. Without a connection they stand still, as the server's do when it is down.
  showClocks() {
    if (!this.state || this.state.world || this.channel.state !== "joined") return
    for (const node of document.querySelectorAll(".seat .clock")) {
      const at = Number(node.dataset.seat)
      const told = this.state.seats[at]?.clock_ms
      if (told === null || told === undefined) { node.textContent = ""; continue }
      const left = Math.max(0, told - (this.state.turn === at ? performance.now() - this.at : 0))
      const seconds = Math.ceil(left / 1000)
      node.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`
      node.classList.toggle("low", left < LOW_MS)
    }
  }

  steer() {
    const keys = {ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right", w: "up", s: "down", a: "left", d: "right"}
    const go = direction => request(this.channel, "input", {go: direction}).catch(error => tell(`${reasonOf(error)}.`))
    addEventListener("keydown", event => {
      if (!this.state?.world || this.mySeat === null || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      if (!event.repeat) go(keys[event.key])
    })
    for (const button of document.querySelectorAll("#pad button")) button.addEventListener("pointerdown", () => go(button.dataset.go))
  }
}

openExample(({socket, user, id}) => new Game(socket, user, id))
