// One instance: its last minutes, topics, clients and actions.

import {h, $, say} from "./dom.js"
import {call, instance as at} from "./api.js"
import {bytes, counted, draw, short} from "./chart.js"

/** Shows an instance beside the list until it is closed. ask(event, payload) pushes to the observer's channel. */
export class Detail {
  constructor(ask, onClose) {
    this.ask = ask
    this.onClose = onClose
    this.id = null
  }

  async open(id) {
    this.id = id
    try {
      this.build(await call("GET", at(id)))
      await this.refresh()
      if (!matchMedia("(min-width: 1080px)").matches) $("detail").scrollIntoView() // only now that it has its full height, because it is above the list
    } catch (error) {
      this.fail(error)
    }
  }

  close() {
    this.id = null
    $("detail").hidden = true
    this.onClose()
  }

  fail(error) {
    if (error.status === 404) this.close()
    if (error.status !== 409 && error.status !== 503) say(error.message) // it has stopped or moves to another node, which the next sample shows
  }

  build(i) {
    this.revision = i.revision
    this.node = i.node
    this.state = i.state
    const chart = () => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg")
      svg.setAttribute("class", "chart")
      svg.setAttribute("role", "img")
      return svg
    }
    this.messages = chart()
    this.clients = chart()
    this.messagesTop = h("span", {class: "count"})
    this.clientsTop = h("span", {class: "count"})
    this.facts = h("p", {class: "facts-line"})
    this.topics = h("ol", {class: "topics"})
    this.sockets = h("ol", {class: "sockets"})
    $("detail").replaceChildren(...[
      h("header", {}, h("h2", {}, i.id), h("button", {type: "button", "aria-label": "Close", onclick: () => this.close()}, "×")),
      h("p", {class: "what"}, h("span", {class: "pill", "data-state": i.state}, i.state), ` ${i.type} · revision ${i.revision}${i.node ? ` · on ${i.node}` : ""}`, ...pageOf(i)),
      i.reason ? h("p", {class: "wrong"}, i.reason) : null,
      this.facts,
      h("h3", {}, "Messages a second ", this.messagesTop), this.messages,
      h("h3", {}, "Clients ", this.clientsTop), this.clients,
      h("h3", {}, "Topics"), this.topics,
      h("h3", {}, "Connected"), this.sockets,
      h("details", {}, h("summary", {}, "Configuration"), h("pre", {}, JSON.stringify({config: i.config, labels: i.labels, limits: i.limits, history: i.history, idle_ttl: i.idle_ttl, socket_url: i.socket_url}, null, 2))),
      this.actions(i),
    ].filter(Boolean))
    $("detail").hidden = false
  }

  actions(i) {
    const act = (label, f, danger) => h("button", {type: "button", class: danger ? "danger" : undefined, onclick: async () => {
      try {
        await f()
      } catch (error) {
        this.fail(error)
      }
    }}, label)
    const again = () => this.open(i.id)
    const buttons = [act("Signal…", () => this.askSignal(i.id)), act("Broadcast…", () => this.askBroadcast(i.id))]
    if (!i.declared) {
      if (i.state === "stopped" || i.state === "failed") buttons.push(act("Resume", async () => { await call("POST", at(i.id, "resume")); await again() }))
      else buttons.push(act("Drain", async () => { await call("POST", at(i.id, "drain")); await again() }))
      buttons.push(act("Delete", async () => {
        if (!confirm(`Delete ${i.id} and what it has saved?`)) return
        await call("DELETE", at(i.id))
        say(`${i.id} is deleted`)
        this.close()
      }, true))
    }
    return h("footer", {}, ...buttons)
  }

  /** Called every second. */
  async refresh() {
    const id = this.id
    if (id === null) return
    try {
      const running = this.state === "running" // otherwise it has neither topics nor clients
      const [now, history, stats, topics, sockets] = await Promise.all([
        call("GET", at(id)), this.ask("history", {id}), call("GET", at(id, "stats")),
        running ? call("GET", `${at(id, "topics")}?limit=12`) : {topics: []},
        running ? call("GET", `${at(id, "sockets")}?limit=50`) : {sockets: []},
      ])
      if (id !== this.id) return
      if (now.state !== this.state || now.revision !== this.revision || now.node !== this.node) this.build(now)
      this.messagesTop.textContent = draw(this.messages, [{name: "out", values: history.rates.map(r => r.messages_out)}, {name: "in", values: history.rates.map(r => r.messages_in)}], short)
      this.clientsTop.textContent = draw(this.clients, [{name: "clients", values: history.connections}], short)
      this.facts.textContent = `${counted(stats.connections, "client")} · ${counted(stats.channels, "channel")} · ${counted(stats.messages_in, "message")} in · ${short(stats.messages_out)} out · ` +
        `${bytes(stats.bytes_out)} sent · ${counted(stats.restarts, "restart")} · ${counted(stats.crashes + stats.channel_crashes, "crash", "crashes")} · up ${stats.uptime.replace(/\.\d+/, "")}` +
        (stats.recorded ? ` · ${counted(stats.recorded.messages, "message")} recorded, ${bytes(stats.recorded.bytes)} · ${counted(stats.replays, "replay")}, ${short(stats.not_recovered)} not recovered` : "")
      const most = Math.max(1, ...topics.topics.map(t => t.subscribers))
      this.topics.replaceChildren(...topics.topics.map(t => bar(t.topic, t.subscribers, most)))
      if (topics.topics.length === 0) this.topics.append(h("li", {class: "hint"}, "no topic has been joined"))
      const groups = alike(sockets.sockets)
      const shown = groups.reduce((sum, {n}) => sum + n, 0)
      this.sockets.replaceChildren(...groups.map(({s, n}) => h("li", {}, h("b", {}, n > 1 ? `${n} × ` : "", s.id || "no id"), ` ${s.transport} · ${s.topics.join(", ") || "no channel"}`)))
      if (shown === 0) this.sockets.append(h("li", {class: "hint"}, "nobody"))
      if (stats.connections > shown) this.sockets.append(h("li", {class: "hint"}, `and ${short(stats.connections - shown)} more`))
    } catch (error) {
      if (id === this.id) this.fail(error)
    }
  }

  askSignal(id) {
    ask("Signal", [["name", "Name", ""], ["data", "Data, as JSON", ""]], async v => {
      const answer = await call("POST", at(id, "signal"), {name: v.name, data: v.data ? JSON.parse(v.data) : null})
      say(`answered ${JSON.stringify(answer.result)}`)
    })
  }

  askBroadcast(id) {
    ask("Broadcast", [["topic", "Topic", "room:lobby"], ["event", "Event", "new_msg"], ["payload", "Payload, as JSON", "{}"]], async v => {
      await call("POST", at(id, "broadcast"), {topic: v.topic, event: v.event, payload: JSON.parse(v.payload || "{}")})
      say("sent")
    })
  }
}

const PAGES = ["chat", "game", "collab"] // types that have an example page

function pageOf({id, type, state}) {
  if (!PAGES.includes(type) || state !== "running") return []
  return [" · ", h("a", {href: `examples/${type}?instance=${encodeURIComponent(id)}`, target: "_blank", rel: "noopener"}, "open its page")]
}

/** Groups sockets that look the same, and counts each group. */
function alike(sockets) {
  const groups = new Map()
  for (const s of sockets) {
    const key = JSON.stringify([s.id, s.transport, s.topics])
    if (groups.has(key)) groups.get(key).n++
    else groups.set(key, {s, n: 1})
  }
  return [...groups.values()].slice(0, 12)
}

function bar(name, n, most) {
  const fill = h("span", {class: "fill", "aria-hidden": "true"})
  fill.style.width = `${100 * n / most}%`
  return h("li", {}, fill, h("span", {class: "name"}, name), h("span", {class: "n"}, short(n)))
}

/** Opens a dialog with text fields, and calls then with their values. */
function ask(title, fields, then) {
  const dialog = $("dialog")
  const failed = h("p", {class: "wrong", role: "alert", hidden: true})
  const inputs = fields.map(([name, label, value]) => h("div", {class: "row"}, h("label", {for: `ask-${name}`}, label), h("input", {id: `ask-${name}`, name, value, spellcheck: "false"})))
  const form = h("form", {method: "dialog", onsubmit: async event => {
    event.preventDefault()
    try {
      await then(Object.fromEntries(new FormData(form)))
      dialog.close()
    } catch (error) {
      failed.textContent = error instanceof SyntaxError ? "That is not valid JSON." : error.message
      failed.hidden = false
    }
  }}, h("h2", {id: "dialog-title"}, title), ...inputs, failed,
  h("footer", {}, h("button", {type: "button", onclick: () => dialog.close()}, "Cancel"), h("button", {class: "primary"}, "Send")))
  dialog.replaceChildren(form)
  dialog.showModal()
}
