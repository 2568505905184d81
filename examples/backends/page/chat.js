// The page of the chat: npm's phoenix.js, unchanged. mycelium serves a copy, for pages without a build step.

const query = new URLSearchParams(location.search)
const user = query.get("as") ?? "ann"
const server = query.get("server") ?? `http://${location.hostname}:4000`
const {Socket, Presence} = await import(`${server}/assets/phoenix.js`)

const post = (path, body, headers = {}) =>
  fetch(path, {method: "POST", headers: {"content-type": "application/json", ...headers}, body: JSON.stringify(body)})

const [log, people, state, form, text] = ["log", "people", "state", "form", "text"].map(id => document.getElementById(id))

function add(tag, parent, content, className = "") {
  const element = Object.assign(document.createElement(tag), {textContent: content, className})
  parent.append(element)
  return element
}

const seen = new Set() // a message may come twice: with the reply of a join, and again after a lost connection

function show({id, name, body}) {
  if (seen.has(id)) return
  seen.add(id)
  const line = add("li", log, "")
  add("b", line, name)
  line.append(body)
  line.scrollIntoView()
}

const note = said => add("li", log, said, "note").scrollIntoView()

const login = await post("login", {name: user})
if (login.ok) enter(await login.json())
else state.textContent = `${user} may not log in`

function enter({token}) {
  const socket = new Socket(`${server.replace(/^http/, "ws")}/socket`, {params: {token, session: crypto.randomUUID()}})
  socket.onError(() => { state.textContent = "Not connected" })
  socket.onClose(() => { state.textContent = "Not connected" })
  socket.connect()

  const room = socket.channel("room:lobby")
  let role
  room.on("new_msg", show)
  room.on("put_out", gone => note(`${gone.user} was put out`))
  room.join()
    .receive("ok", reply => {
      role = reply.role
      state.textContent = `Connected as ${user}`
      reply.messages.forEach(show)
    })
    .receive("error", ({reason}) => { state.textContent = reason })

  const presence = new Presence(room)
  presence.onSync(() => {
    people.replaceChildren()
    presence.list(name => {
      const line = add("li", people, name)
      if (role !== "moderator" || name === user) return
      add("button", line, "Put out").onclick = () => post("ban", {user: name}, {authorization: `Bearer ${token}`})
    })
  })

  form.onsubmit = event => {
    event.preventDefault()
    room.push("new_msg", {body: text.value}).receive("error", ({reason}) => note(reason))
    text.value = ""
  }
}
