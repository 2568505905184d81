"""What the programs of all Python clients share: the server, saying how each behaviour went, and waiting."""

import asyncio
import itertools
import json
import os
import traceback

import websockets

SERVER = os.environ["LABAPP_ADDR"]
PROXY = os.environ["LABAPP_PROXY"]

PATIENCE = 45  # seconds


class NotOffered(Exception):
    """The client has no means for a behaviour; the message says why."""


async def run(behaviours):
    """Runs each behaviour, a coroutine function that may return a note, and says in one line how it went."""
    for name, behaviour in behaviours.items():
        try:
            note = await behaviour()
            outcome = f"ok ({note})" if note else "ok"
        except NotOffered as reason:
            outcome = f"not offered ({reason})"
        except Exception as error:
            traceback.print_exc()
            outcome = f"FAIL {type(error).__name__}: {error}".replace("\n", " ")
        print(f"{name}: {outcome}", flush=True)


async def until(what, condition, patience=PATIENCE):
    """Waits for the condition to hold."""
    deadline = asyncio.get_running_loop().time() + patience
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        await asyncio.sleep(0.01)


def equal(what, want, got):
    if want != got:
        raise AssertionError(f"{what}: want {want!r}, got {got!r}")


def cut_proxy():
    """Has the proxy reset its connections."""
    print("proxy: cut", flush=True)


class Operator:
    """Does from elsewhere, with frames of its own, what a client under test does not do itself."""

    async def __aenter__(self):
        self.socket = await websockets.connect(f"ws://{SERVER}/socket/websocket?vsn=2.0.0")
        self.refs = map(str, itertools.count(2))
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def push(self, topic, event, payload):
        """Joins a topic, pushes and waits for the reply, whose response it returns."""
        join_ref = next(self.refs)
        await self.send(join_ref, join_ref, topic, "phx_join", {})
        ref = next(self.refs)
        await self.send(join_ref, ref, topic, event, payload)
        async with asyncio.timeout(PATIENCE):
            while True:
                _, answered, _, _, reply = json.loads(await self.socket.recv())
                if answered == ref:
                    equal("the operator's reply", "ok", reply["status"])
                    return reply["response"]

    async def send(self, *message):
        await self.socket.send(json.dumps(message))

    async def disconnect(self, user):
        await self.push(f"echo:operator-{user}", "disconnect_user", {"id": user})
