"""Applications on the Python clients that say what they are sent while their connection is cut: recovery.py phoenix|realtime.

compat_tests/js/recovery starts them; traveller.mjs reads the lines."""

import asyncio
import logging
import os
import sys
from urllib.parse import urlencode

URL = os.environ["RECOVERY_URL"]
TOPIC = os.environ["RECOVERY_TOPIC"]
KEY = os.environ["RECOVERY_KEY"]
PARAMS = {"session": os.environ["RECOVERY_SESSION"]} if os.environ["RECOVERY_WAY"] == "session" else {}


def say(n):
    print(f"n {n}", flush=True)


class Dropped(logging.Handler):
    """Says that the client has dropped messages that it had received: it empties its queue when it reconnects."""

    def emit(self, record):
        if record.msg.startswith("Drained ") or "stopping for a rejoin; dropping" in record.msg:
            print("dropped", flush=True)


async def phoenix():
    from phoenix_channels_python_client import PHXChannelsClient, ReconnectPolicy

    logger = logging.getLogger("phoenix_channels_python_client")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Dropped())

    async def note(message):
        if str(message.event) == "n":
            say(message.payload["n"])

    client = PHXChannelsClient(
        f"{URL}/socket/websocket?{urlencode(PARAMS)}",
        api_key="any",
        protocol_version="1.0",  # on version 2.0 it drops broadcasts
        reconnect_policy=ReconnectPolicy(base_delay_s=0.02, stable_reset_s=0.1, rapid_disconnect_uptime_s=0),
        join_timeout_s=3.0,
        max_topic_queue_size=100_000,
        heartbeat_interval_s=1.0,
        heartbeat_dead_threshold_s=2.0,
    )
    async with client:
        await client.subscribe_to_topic(TOPIC, note)
        await asyncio.Event().wait()


async def realtime():
    from realtime import AsyncRealtimeClient

    client = AsyncRealtimeClient(f"{URL}/realtime/v1", token=KEY, params=PARAMS, max_retries=1000, initial_backoff=0.02)
    await client.connect()
    channel = client.channel(TOPIC)
    channel.on_broadcast("n", lambda message: say(message["payload"]["n"]))
    await channel.subscribe(lambda state, error: None)
    await asyncio.Event().wait()


logging.lastResort = None  # nothing else is said of lost connections: they are what this is about
asyncio.run({"phoenix": phoenix, "realtime": realtime}[sys.argv[1]]())
