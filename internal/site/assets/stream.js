// The stream of a room: messages, and notices of who came and left.

import {hueOf} from "./identity.js"

const CAP = 500 // entries on the page; older ones are removed
const GROUP_MS = 3 * 60 * 1000 // consecutive messages of one person within this are shown under one name
const NEAR_END = 80 // px; the stream follows new messages if it is scrolled this close to its end

const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit"})
const calendar = new Intl.DateTimeFormat(undefined, {dateStyle: "full", timeStyle: "medium"})

/** element makes a node. What people wrote is inserted as text, never as markup. */
export function element(tag, className, text) {
  const node = document.createElement(tag)
  if (className) node.className = className
  if (text !== undefined) node.textContent = text
  return node
}

function timeOf(at) {
  const time = element("time", "", clock.format(at))
  time.dateTime = at.toISOString()
  time.title = calendar.format(at)
  return time
}

// A row of notices shows each person once, as they are now, however often they came and left.
function sentence(changes) {
  const came = [...changes].filter(([, here]) => here).map(([name]) => name)
  const left = [...changes].filter(([, here]) => !here).map(([name]) => name)
  const some = names => names.length <= 3
    ? names.join(", ").replace(/, ([^,]*)$/, " and $1")
    : `${names.slice(0, 2).join(", ")} and ${names.length - 2} others`
  return [came.length && `${some(came)} came in`, left.length && `${some(left)} left`].filter(Boolean).join(" · ")
}

export class Stream {
  /** log is the element for the entries, newer the button that scrolls to the end, welcome what an empty room shows. */
  constructor(log, newer, welcome) {
    this.log = log
    this.newer = newer
    this.welcome = welcome
    this.last = null // the newest entry: {user, at} of a message, {changes, node} of a notice
    this.newer.addEventListener("click", () => this.toEnd())
    this.log.addEventListener("scroll", () => { if (this.atEnd()) this.newer.hidden = true }, {passive: true})
    new ResizeObserver(() => { if (this.following) this.toEnd() }).observe(this.log)
    this.following = true
    this.log.addEventListener("scroll", () => { this.following = this.atEnd() }, {passive: true})
  }

  clear() {
    this.log.replaceChildren()
    this.last = null
    this.newer.hidden = true
    this.following = true
    this.welcome.hidden = false
  }

  /** Adds a message and returns its node; `mine` puts it on the right. */
  message({user, body, at}, mine) {
    const grouped = this.last?.user === user && this.last.mine === mine && at - this.last.at < GROUP_MS && at >= this.last.at
    const node = element("div", grouped ? "message grouped" : "message")
    node.classList.toggle("mine", mine)
    node.style.setProperty("--hue", hueOf(user))
    const who = element("p", "who")
    const name = element("bdi", "name", user)
    who.append(name, " ", timeOf(at))
    const text = element("p", "body", body)
    text.dir = "auto"
    node.append(who, text)
    this.last = {user, at, mine}
    this.append(node, mine)
    return node
  }

  /** Adds a line that is not a message, such as a refusal. */
  notice(text) {
    if (this.log.lastElementChild?.matches(".notice") && this.log.lastElementChild.textContent === text) return // it is shown already
    this.last = null
    this.append(element("p", "notice", text), false)
  }

  /** Shows that somebody came or left. Neighbouring notices share a line. */
  moved(name, here) {
    if (!this.last?.changes) {
      this.last = {changes: new Map(), node: element("p", "notice")}
      this.append(this.last.node, false)
    }
    this.last.changes.delete(name)
    this.last.changes.set(name, here)
    this.last.node.textContent = sentence(this.last.changes)
  }

  /** Marks a message that this window sent with its trouble, or with "" once it has arrived. */
  mark(node, trouble, retry) {
    node.querySelector(".trouble")?.remove()
    node.classList.toggle("unsent", trouble !== "")
    if (trouble === "") return
    const note = element("p", "trouble", trouble)
    if (retry) {
      const button = element("button", "link", "Send again")
      button.type = "button"
      button.addEventListener("click", retry)
      note.append(" ", button)
    }
    node.append(note)
    if (this.following) this.toEnd()
  }

  append(node, forced) {
    const follow = forced || this.following
    this.welcome.hidden = this.welcome.hidden || node.classList.contains("message")
    this.log.append(node)
    while (this.log.childElementCount > CAP) this.log.firstElementChild.remove()
    if (follow) this.toEnd()
    else if (node.classList.contains("message")) this.newer.hidden = false
  }

  atEnd() { return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_END }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight
    this.newer.hidden = true
    this.following = true
  }
}
