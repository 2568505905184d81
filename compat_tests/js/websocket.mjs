// Gives Node 20 the WebSocket that browsers, and Node from 22 on, have.

import {WebSocket} from "ws"

globalThis.WebSocket ??= WebSocket
