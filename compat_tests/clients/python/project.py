"""Supabase's realtime through the behaviours of docs/compatibility.md, on an instance of the type realtime."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from contextlib import asynccontextmanager
from uuid import uuid4

from lab import PROXY, SERVER, NotOffered, cut_proxy, equal, run, until
from realtime import AsyncRealtimeClient, RealtimeHTTPError, RealtimeSubscribeStates
from websockets.exceptions import InvalidStatus

SECRET, KEY = os.environ["REALTIME_SECRET"], os.environ["REALTIME_KEY"]
SUBSCRIBED, ERROR, CLOSED = (
    RealtimeSubscribeStates.SUBSCRIBED,
    RealtimeSubscribeStates.CHANNEL_ERROR,
    RealtimeSubscribeStates.CLOSED,
)
UNICODE = {"body": "Grüße <b>&</b> 你好 🍄 \u2028", "n": [1, 2.5, None, True], "deep": {"er": {}}}


def token_of(user, seconds=3600):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": user, "role": "authenticated", "exp": int(time.time()) + seconds}
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    mac = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def named(name):
    return f"{name}-{uuid4().hex[:8]}"


@asynccontextmanager
async def connect(token=KEY, addr=SERVER, path="/realtime/v1", **options):
    client = AsyncRealtimeClient(f"ws://{addr}{path}", token=token, **options)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


class Room:
    """A channel, and what happened to it."""

    def __init__(self, client, name, ack=False, to_self=False, key="", private=False, **broadcast):
        self.channel = client.channel(name, {"config": {
            "broadcast": {"ack": ack, "self": to_self, **broadcast},
            "presence": {"key": key, "enabled": bool(key)},
            "private": private,
        }})
        self.states, self.errors, self.messages, self.metas = [], [], [], []
        self.channel.on_broadcast("hello", self.on_hello)

    async def join(self):
        await self.channel.subscribe(self.on_state)
        await until("an answer to the join", lambda: self.states)
        return self

    def on_state(self, state, error):
        self.states.append(state)
        if error:
            self.errors.append(str(error))

    def on_hello(self, message):
        self.messages.append(message["payload"])
        self.metas.append(message.get("meta", {}))

    def here(self):
        return {key: [meta["at"] for meta in metas] for key, metas in self.channel.presence_state().items()}

    async def until_here(self, want):
        await until(f"presences are {want}", lambda: self.here() == want)

    async def gets(self, *payloads):
        await until(f"{payloads} arrive", lambda: self.messages == list(payloads))


async def refused(client, reason, **options):
    room = await Room(client, **options).join()
    equal("states", [ERROR], room.states)
    if reason not in room.errors[0]:
        raise AssertionError(f"want {reason}, got {room.errors}")


async def subscribes():
    async with connect() as client:
        room = await Room(client, named("room")).join()
        equal("states", [SUBSCRIBED], room.states)
        await room.channel.unsubscribe()
        await until("the channel is closed", lambda: room.states == [SUBSCRIBED, CLOSED])


async def connection_refused():
    for token in (KEY + "x", token_of("ada", -60)):
        try:
            async with connect(token, auto_reconnect=False):
                raise AssertionError("the connection was accepted")
        except InvalidStatus as error:
            equal("status", 401, error.response.status_code)


async def broadcasts():
    name = named("room")
    async with connect() as first, connect() as second:
        ada, bob = await Room(first, name).join(), await Room(second, name).join()
        await ada.channel.send_broadcast("hello", UNICODE)
        await bob.gets(UNICODE)
        for n in range(50):
            await bob.channel.send_broadcast("hello", {"n": n})
        await ada.gets(*({"n": n} for n in range(50)))


async def bytes_():
    raise NotOffered("version 1.0.0 carries JSON only")


async def ack_and_self():
    name = named("room")
    async with connect() as first, connect() as second:
        ada = await Room(first, name, ack=True, to_self=True).join()
        bob = await Room(second, name, ack=True).join()
        await ada.channel.send_broadcast("hello", {"by": "ada"})
        await bob.gets({"by": "ada"})
        await bob.channel.send_broadcast("hello", {"by": "bob"})
        await ada.gets({"by": "ada"}, {"by": "bob"})
        await bob.gets({"by": "ada"})
        acks = []
        push = await bob.channel.push("broadcast", {"type": "broadcast", "event": "hello", "payload": {}})
        push.receive("ok", lambda *_: acks.append("ok"))
        await until("the ack", lambda: acks == ["ok"])


async def generations():
    """The other generation is played with bare frames: version 2.0.0 sends kind 3, and gets as text what this client sends."""
    import websockets

    name = named("room")
    topic = f"realtime:{name}"
    async with connect() as client, websockets.connect(f"ws://{SERVER}/realtime/v1/websocket?vsn=2.0.0&apikey={KEY}") as other:
        room = await Room(client, name).join()
        await other.send(json.dumps(["1", "1", topic, "phx_join", {"config": {}}]))
        equal("join", "ok", json.loads(await other.recv())[4]["status"])
        header = bytes([3, 1, 1, len(topic), len("hello"), 0, 1])
        await other.send(header + b"12" + topic.encode() + b"hello" + json.dumps(UNICODE).encode())
        await room.gets(UNICODE)
        await room.channel.send_broadcast("hello", {"n": 2})
        message = json.loads(await other.recv())
        equal("text", [None, None, topic, "broadcast"], message[:4])
        equal("payload", {"n": 2}, message[4]["payload"])


async def presence():
    name = named("room")
    async with connect() as first, connect() as second, connect() as third:
        ada, bob = await Room(first, name, key="ada").join(), await Room(second, name, key="bob").join()
        await ada.channel.track({"at": 1})
        await bob.channel.track({"at": 1})
        late = await Room(third, name, key="late").join()
        for room in (ada, bob, late):
            await room.until_here({"ada": [1], "bob": [1]})
        await ada.channel.track({"at": 2})
        for room in (ada, bob, late):
            await room.until_here({"ada": [2], "bob": [1]})
        await ada.channel.untrack()
        await late.until_here({"bob": [1]})
        await second.close()
        await late.until_here({})


async def private():
    name = named("team")
    async with connect(token_of("ada")) as first, connect(token_of("bob")) as second, connect() as third:
        ada, bob = await Room(first, name, private=True).join(), await Room(second, name, private=True).join()
        outsider = await Room(third, name).join()
        await outsider.channel.send_broadcast("hello", {"public": True})
        await ada.channel.send_broadcast("hello", {"secret": True})
        await bob.gets({"secret": True})
        equal("of the public channel", [], outsider.messages)


async def private_refused():
    async with connect(token_of("eve")) as client:
        await refused(client, "You do not have permissions to read from this Channel topic: user-ada", name="user-ada", private=True)


async def token_renewed():
    user = named("ada")
    async with connect() as first, connect(token_of(user)) as second:
        await first.set_auth(token_of(user, 5))
        ada = await Room(first, f"user-{user}", private=True).join()
        await first.set_auth(token_of(user))
        await asyncio.sleep(5.5)  # the first token has expired
        bob = await Room(second, f"user-{user}", private=True).join()
        await ada.channel.send_broadcast("hello", {})
        await bob.gets({})
        equal("states", [SUBSCRIBED], ada.states)


async def token_expired():
    async with connect() as client:
        await client.set_auth(token_of("ada", 5))
        room = await Room(client, named("team"), private=True).join()
        await until("the channel is closed", lambda: CLOSED in room.states)
        if "Token has expired" not in room.errors[0]:
            raise AssertionError(room.errors)
        equal("connected", True, client.is_connected)


async def http():
    """Version 1.0.0 gets no bytes, so those that this client sends are read from frames of version 2."""
    import websockets

    name, team = named("room"), named("team")
    topic = f"realtime:{name}"
    async with (
        connect() as first,
        connect(token_of("ada")) as second,
        connect(token_of("eve")) as third,
        websockets.connect(f"ws://{SERVER}/realtime/v1/websocket?vsn=2.0.0&apikey={KEY}") as other,
    ):
        ada, bob = await Room(first, name).join(), await Room(second, team, private=True).join()
        await Room(third, name).channel.http_send("hello", UNICODE)
        await ada.gets(UNICODE)
        await Room(third, team, private=True).channel.http_send("hello", {"secret": True})
        await bob.gets({"secret": True})
        try:
            await Room(third, "user-ada", private=True).channel.http_send("hello", {})
            raise AssertionError("the broadcast was accepted")
        except RealtimeHTTPError as error:
            equal("status", 403, error.status)
        await other.send(json.dumps(["1", "1", topic, "phx_join", {"config": {}}]))
        equal("join", "ok", json.loads(await other.recv())[4]["status"])
        await Room(third, name).channel.http_send("hello", b"\x00\xff")
        equal("bytes", bytes([4, len(topic), len("hello"), 0, 0]) + topic.encode() + b"hello\x00\xff", await other.recv())


async def replay():
    name = named("team")
    async with connect(token_of("ada"), path="/socket/kept") as first, connect(token_of("bob"), path="/socket/kept") as second:
        ada = await Room(first, name, private=True, ack=True, to_self=True).join()
        for n in (1, 2, 3):
            await ada.channel.send_broadcast("hello", {"n": n})
        await ada.gets(*({"n": n} for n in (1, 2, 3)))
        since = int(time.time() * 1000) - 60_000
        bob = await Room(second, name, private=True, replay={"since": since, "limit": 2}).join()
        await ada.channel.send_broadcast("hello", {"n": 4})
        await bob.gets({"n": 2}, {"n": 3}, {"n": 4})
        equal("replayed", [True, True, None], [meta.get("replayed") for meta in bob.metas])


async def replay_refused():
    async with connect(token_of("ada")) as client:
        await refused(client, "UnableToReplayMessages", name=named("team"), private=True, replay={"since": 1, "limit": 5})


async def changes():
    async with connect() as client:
        room = Room(client, named("room"))
        room.channel.on_postgres_changes("INSERT", lambda _: None, table="todos")
        await room.join()
        equal("states", [ERROR], room.states)
        if "does not deliver postgres_changes" not in room.errors[0]:
            raise AssertionError(room.errors)


async def reconnects():
    name = named("room")
    async with connect(addr=PROXY) as first, connect() as second:
        ada, bob = await Room(first, name, key="ada").join(), await Room(second, name, key="bob").join()
        await ada.channel.track({"at": 1})
        await bob.until_here({"ada": [1]})
        cut_proxy()
        await until("it subscribes again", lambda: ada.states.count(SUBSCRIBED) == 2)
        await ada.channel.track({"at": 2})
        await bob.until_here({"ada": [2]})
        await bob.channel.send_broadcast("hello", {"n": 1})
        await ada.gets({"n": 1})


async def limits():
    async with connect(path="/socket/limited") as client:
        room = await Room(client, named("room"), key="ada").join()
        await refused(client, "ChannelRateLimitReached: Too many channels", name=named("second"))
        for at in (1, 2, 3):
            await room.channel.track({"at": at})
        await until("the channel is closed", lambda: CLOSED in room.states)
        if "Client presence rate limit exceeded" not in room.errors[-1]:
            raise AssertionError(room.errors)


asyncio.run(
    run(
        {
            "subscribe, unsubscribe": subscribes,
            "connection refused": connection_refused,
            "broadcast": broadcasts,
            "broadcast of bytes": bytes_,
            "ack, self": ack_and_self,
            "two generations in one channel": generations,
            "presence: key, track, update, untrack": presence,
            "private channel": private,
            "private channel refused": private_refused,
            "token renewed": token_renewed,
            "token expired": token_expired,
            "HTTP": http,
            "replay": replay,
            "replay refused": replay_refused,
            "postgres_changes refused": changes,
            "reconnect": reconnects,
            "limits": limits,
        }
    )
)
