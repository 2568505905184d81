// A form for a new instance, made from the JSON schema of its type. Values without a suitable kind of field are entered as JSON.

import {h, $} from "./dom.js"
import {call} from "./api.js"

/** Opens the dialog, and calls created with the new instance. */
export function askForInstance(types, created) {
  const dialog = $("dialog")
  const fields = h("div", {class: "fields"})
  const kind = h("select", {id: "new-type", onchange: () => show()}, ...types.map(t => h("option", {value: t.name}, t.name)))
  const about = h("p", {class: "hint"})
  const failed = h("p", {class: "wrong", role: "alert", hidden: true})
  const form = h("form", {method: "dialog", onsubmit: submit},
    h("h2", {id: "dialog-title"}, "New instance"),
    row("Id", "", h("input", {id: "new-id", pattern: "[A-Za-z0-9_\\-]{0,64}", title: "Letters, digits, - and _, at most 64", placeholder: "a random one", spellcheck: "false"}), "/id"),
    row("Type", "", kind, "/type"), about, fields, failed,
    h("footer", {}, h("button", {type: "button", onclick: () => dialog.close()}, "Cancel"), h("button", {class: "primary"}, "Create")))
  const chosen = () => types.find(t => t.name === kind.value)

  function show() {
    about.textContent = chosen().about
    fields.replaceChildren(...fieldsOf(chosen().schema))
  }

  async function submit(event) {
    event.preventDefault()
    for (const mark of form.querySelectorAll(".wrong")) mark.hidden = true
    try {
      const spec = {type: kind.value, config: valuesOf(fields)}
      if ($("new-id").value) spec.id = $("new-id").value
      const instance = await call("POST", "/instances", spec)
      dialog.close()
      created(instance)
    } catch (error) {
      complain(form, failed, error)
    }
  }

  dialog.replaceChildren(form)
  show()
  dialog.showModal()
}

/** Shows each error at its field, and errors without a field at the end. */
function complain(form, failed, error) {
  const rest = []
  for (const {field, reason} of error.errors ?? []) {
    const at = [...form.querySelectorAll("[data-field]")].find(r => field === r.dataset.field || field.startsWith(`${r.dataset.field}/`))
    if (!at) { rest.push(`${field} ${reason}`); continue }
    const mark = at.querySelector(".wrong")
    mark.textContent = reason
    mark.hidden = false
  }
  if (rest.length || !error.errors?.length) {
    failed.textContent = rest.join("; ") || error.message
    failed.hidden = false
  }
}

function row(name, hint, input, pointer) {
  input.id ||= `field-${pointer}`
  return h("div", {class: "row", "data-field": pointer},
    h("label", {for: input.id}, name), input, hint && h("p", {class: "hint"}, hint), h("p", {class: "wrong", role: "alert", hidden: true}))
}

function fieldsOf(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, s]) => {
    const input = inputFor(s)
    input.dataset.name = name
    input.dataset.kind = kindOf(s)
    input.required = (schema.required ?? []).includes(name) && input.type !== "checkbox"
    return row(name, s.description ?? "", input, `/config/${name}`)
  })
}

const kindOf = s => s.enum ? "string" : ["string", "integer", "number", "boolean"].includes(s.type) ? s.type : "json"

function inputFor(s) {
  if (s.enum) return h("select", {}, h("option", {value: ""}, "default"), ...s.enum.map(v => h("option", {}, v)))
  switch (kindOf(s)) {
    case "boolean": return h("input", {type: "checkbox"})
    case "integer": return h("input", {type: "number", step: 1, min: s.minimum, max: s.maximum, placeholder: s.default})
    case "number": return h("input", {type: "number", step: "any", min: s.minimum, max: s.maximum, placeholder: s.default})
    case "string": return h("input", {placeholder: s.default ?? "", spellcheck: "false"})
  }
  return h("input", {placeholder: s.type === "array" ? "[…] as JSON" : "{…} as JSON", spellcheck: "false"})
}

/** Returns the values that were filled in. The type decides about the others. */
function valuesOf(fields) {
  const config = {}
  for (const input of fields.querySelectorAll("[data-name]")) {
    const {name, kind} = input.dataset
    if (kind === "boolean") {
      if (input.checked) config[name] = true
    } else if (input.value !== "") {
      config[name] = kind === "string" ? input.value : kind === "json" ? json(name, input.value) : Number(input.value)
    }
  }
  return config
}

function json(name, text) {
  try {
    return JSON.parse(text)
  } catch {
    throw Object.assign(new Error("invalid"), {errors: [{field: `/config/${name}`, reason: "is not valid JSON"}]})
  }
}
