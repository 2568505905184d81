// What back ends decide and are told, on this node: those in trouble first.

import {h, $} from "./dom.js"
import {counted, short} from "./chart.js"

/** Shows the hooks of a sample, undefined if there are none. */
export function showHooks(hooks) {
  $("hooks").hidden = !hooks
  if (!hooks) return
  $("hooks-total").textContent = short(hooks.total)
  const trouble = [hooks.losing && `${counted(hooks.losing, "hook has", "hooks have")} lost events`, hooks.away && `${counted(hooks.away, "back end is", "back ends are")} away`].filter(Boolean).join("; ")
  $("hooks-trouble").hidden = !trouble
  $("hooks-trouble").textContent = trouble
  $("hook-rows").replaceChildren(...hooks.rows.map(row))
  const hidden = hooks.total - hooks.rows.length
  $("hooks-more").hidden = hidden <= 0
  $("hooks-more").textContent = `and ${short(hidden)} more, which do less`
}

function row({instance, hook, decides, told}) {
  const number = (value, wide, bad) => h("td", {class: ["number", wide && "wide", bad && "bad"].filter(Boolean).join(" ")}, value ?? "–")
  const state = decides?.open ? "away" : told?.last_error ? "failing" : "up"
  return h("tr", {"data-hook": hook, "data-instance": instance},
    h("th", {scope: "row", title: `${hook} of ${instance}`}, hook), h("td", {class: "wide of", title: instance}, instance),
    h("td", {}, h("span", {class: "pill", "data-state": state === "up" ? "up" : "failed", title: told?.last_error ?? ""}, state)),
    number(decides && short(decides.requests), true), number(decides && short(decides.refused), true), number(decides && short(decides.unanswered), false, decides?.unanswered > 0),
    number(decides && (decides.p99_ms > 0 ? duration(decides.p99_ms) : "–"), true),
    number(decides && (decides.waiting > 0 ? `${short(decides.in_flight)} + ${short(decides.waiting)}` : short(decides.in_flight)), true),
    number(told && short(told.delivered), true), number(told && (told.lag_ms > 0 ? duration(told.lag_ms) : "–"), false, told?.lag_ms > 60000),
    number(told && short(told.lost), false, told?.lost > 0), number(told && short(told.dead_letters), true, told?.dead_letters > 0))
}

/** 1500 ms is "1.5 s". */
function duration(ms) {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  return ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`
}
