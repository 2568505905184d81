// The clients, and which of the optional features each of them has.

import {BROWSERS} from "../browser.mjs"
import {onLongPoll} from "./phoenix_longpoll.mjs"
import {onWebSocket, withoutJoinRefs} from "./phoenix_websocket.mjs"
import {onRealtime} from "./realtime.mjs"

const phoenix = {...onWebSocket, ...onLongPoll}

// The features of versions of phoenix, from the named version on.
const from1_3 = ["longpoll"]
const from1_5 = [...from1_3, "binary", "longpoll refusal"]
const from1_7 = [...from1_5, "longpoll batches", "fallback"]
const from1_8 = [...from1_7, "auth token"]
const newest = [...from1_8, "longpoll rejoin"]

/** The notes below the table, numbered from 1. */
export const NOTES = [
  "Clients that send no join_ref are told of the end of the first channel with ref null, and close both; on Phoenix as here " +
    "(recording v1_join_twice).",
  "What it can show: realtime-js 2.119.1 loses the phx_ref of a presence when another joins under its key, whatever the server, " +
    "and then does not see the older one change or leave.",
  "Older versions do not join again when their session is gone: they go on in a new one, in which they are on no channel.",
  "These versions throw on the answer 403.",
  "With the option `encode` set to Phoenix's serializer: the client's own sends broadcasts in a binary kind that is Supabase's.",
  "It wants the messages of a poll as objects; Phoenix sends strings of JSON, as later clients want them.",
]

/**
 * name: in the table; package: as npm installs it; behaviours: by name; offers: see `needs` in behaviours.mjs; notes: numbers of
 * NOTES, by behaviour, or all: on the client itself; window: whether it must find a browser's globals; browser: the one that it runs
 * in; ownWebSocket: whether it brings one along; options: of realtime-js.
 */
export const CLIENTS = [
  {
    name: "phoenix 1.2.1", package: "phoenix-1.2.1", window: true, offers: [], behaviours: {...phoenix, ...withoutJoinRefs},
    notes: {"duplicate join": 1, "long polling": 6},
  },
  ...["1.3.5", "1.4.17"].map(version => ({
    name: `phoenix ${version}`, package: `phoenix-${version}`, window: true, offers: from1_3, behaviours: phoenix,
    notes: {"long polling: connect refused": 4, "long polling: forced disconnect": 3},
  })),
  ...[["1.5.14", from1_5], ["1.6.16", from1_5], ["1.7.23", from1_7], ["1.8.0", from1_8]].map(([version, offers]) => ({
    name: `phoenix ${version}`, package: `phoenix-${version}`, window: version < "1.8", offers, behaviours: phoenix,
    notes: {"long polling: forced disconnect": 3},
  })),
  {name: "phoenix 1.8.16", package: "phoenix", offers: newest, behaviours: phoenix},
  ...BROWSERS.map(({name: browser}) => ({name: `phoenix 1.8.16, ${browser}`, package: "phoenix", browser, offers: newest, behaviours: phoenix})),
  {
    name: "phoenix-channels 1.0.0", package: "phoenix-channels", ownWebSocket: true, offers: [],
    behaviours: {...phoenix, ...withoutJoinRefs}, notes: {"duplicate join": 1},
  },
  {
    name: "realtime-js 2.119.1, vsn 1.0.0", package: "@supabase/realtime-js", offers: ["auth token"], behaviours: onRealtime,
    notes: {"presence: two users, two tabs": 2}, options: {vsn: "1.0.0"},
  },
  {
    name: "realtime-js 2.119.1, vsn 2.0.0", package: "@supabase/realtime-js", offers: ["auth token"], behaviours: onRealtime,
    notes: {all: 5, "presence: two users, two tabs": 2},
    options: {
      vsn: "2.0.0",
      encode: ({join_ref, ref, topic, event, payload}, done) => done(JSON.stringify([join_ref, ref, topic, event, payload])),
    },
  },
]
