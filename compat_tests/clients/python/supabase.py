"""Supabase's realtime through the behaviours, on labapp's topics of that client's own shape (realtime:*)."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

from lab import PROXY, SERVER, NotOffered, Operator, cut_proxy, equal, run, until
from realtime import AsyncRealtimeClient, RealtimeAcknowledgementStatus, RealtimeSubscribeStates
from websockets.exceptions import InvalidStatus

SUBSCRIBED, ERROR, CLOSED = (
    RealtimeSubscribeStates.SUBSCRIBED,
    RealtimeSubscribeStates.CHANNEL_ERROR,
    RealtimeSubscribeStates.CLOSED,
)


class Topic:
    """One channel, and what happened to it."""

    def __init__(self, client, name, key="", to_self=True):
        config = {
            "broadcast": {"ack": True, "self": to_self},
            "presence": {"key": key, "enabled": bool(key)},
            "private": False,
        }
        self.channel = client.channel(name, {"config": config})
        self.states = []  # as the callback of subscribe is told
        self.errors = []
        self.shouts = []
        self.channel.on_broadcast("shout", lambda message: self.shouts.append(message["payload"]))

    async def join(self):
        await self.channel.subscribe(self.on_state)
        return self

    def on_state(self, state, error):
        self.states.append(state)
        if error:
            self.errors.append(str(error))

    async def push(self, event, payload, timeout=10):
        """Pushes and waits for one of the three answers."""
        answers = []
        push = await self.channel.push(event, payload, timeout)
        for status in RealtimeAcknowledgementStatus:
            push.receive(status, lambda *response, status=status: answers.append((status.value, *response)))
        await until(f"an answer to {event}", lambda: answers)
        return answers[0]

    async def check(self):
        """Shows that the channel works: a broadcast to itself comes back."""
        before = len(self.shouts)
        await self.channel.send_broadcast("shout", {"text": "still here"})
        await until("the own broadcast", lambda: len(self.shouts) == before + 1)
        equal("broadcast", {"text": "still here"}, self.shouts[-1])

    def tabs(self):
        state = self.channel.presence_state()
        return {key: sorted(meta["tab"] for meta in metas) for key, metas in state.items()}


@asynccontextmanager
async def connect(addr=SERVER, token=None, hb_interval=25, **params):
    client = AsyncRealtimeClient(f"ws://{addr}/socket", token=token, params=params, hb_interval=hb_interval)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def connects():
    async with connect(user_id="realtime connects & more") as client:
        equal("connected", True, client.is_connected)


async def connect_refused():
    client = AsyncRealtimeClient(f"ws://{SERVER}/socket", params={"token": "bad"}, auto_reconnect=False)
    try:
        await client.connect()
        raise AssertionError("the connection was accepted")
    except InvalidStatus as error:
        equal("status", 403, error.response.status_code)


async def joins():
    async with connect() as client:
        topic = await Topic(client, "joins").join()
        equal("states", [SUBSCRIBED], topic.states)
        await topic.check()


async def join_refused():
    async with connect(token="bad") as client:
        topic = await Topic(client, "refused").join()
        equal("states", [ERROR], topic.states)
        equal("reason", "InvalidJWTToken: the token is bad", json.loads(topic.errors[0])["reason"])


async def pushes():
    async with connect() as client:
        topic = await Topic(client, "pushes", key="alice").join()
        status, _ = await topic.push("presence", {"event": "track", "payload": {}})
        equal("status", "ok", status)
        equal("error", ("error", {"reason": "unknown presence event"}), await topic.push("presence", {"event": "no"}))
        equal("timeout", ("timeout",), await topic.push("unanswered", {}, timeout=0.3))
        await topic.check()
    return "the client shows nothing of the response to an ok but postgres_changes"


async def push_from_server():
    async with connect() as client:
        topic = Topic(client, "system")
        told = []
        topic.channel.on_postgres_changes("INSERT", lambda _: None, table="any")
        topic.channel.on_system(lambda message: told.append(message.message))
        await topic.join()
        equal("states", [SUBSCRIBED], topic.states)
        await until("the system message", lambda: told == ["Subscribed to PostgreSQL"])


async def broadcasts():
    async with connect() as first, connect() as second:
        sender = await Topic(first, "broadcast").join()
        other = await Topic(second, "broadcast").join()
        await sender.channel.send_broadcast("shout", {"text": "to all", "list": [1, None]})
        for topic in (sender, other):
            await until("the broadcast", lambda topic=topic: topic.shouts == [{"text": "to all", "list": [1, None]}])


async def broadcasts_from():
    async with connect() as first, connect() as second:
        sender = await Topic(first, "from", to_self=False).join()
        other = await Topic(second, "from").join()
        await sender.channel.send_broadcast("shout", {"text": "to the others"})
        await until("the broadcast", lambda: other.shouts == [{"text": "to the others"}])
        await sender.push("presence", {"event": "no"})  # nothing may come before this answer
        equal("broadcasts to the sender", [], sender.shouts)


async def binary():
    raise NotOffered("it speaks V1, which has no frames of bytes")


async def leaves():
    async with connect() as first, connect() as second:
        alice = await Topic(first, "leave", key="alice").join()
        bob = await Topic(second, "leave", key="bob").join()
        await alice.channel.track({"tab": "one"})
        await until("alice is present", lambda: bob.tabs() == {"alice": ["one"]})
        await alice.channel.unsubscribe()
        await until("the channel is closed", lambda: alice.states == [SUBSCRIBED, CLOSED])
        await until("alice is gone", lambda: bob.tabs() == {})
        await (await Topic(first, "leave").join()).check()


async def stopped():
    async with connect() as client:
        topic = await Topic(client, "stopped").join()
        await client.set_auth("bad")
        await until("the channel is closed", lambda: topic.states == [SUBSCRIBED, ERROR, CLOSED])
        equal("closed", True, topic.channel.is_closed)
        await client.set_auth("good")
        await (await Topic(client, "stopped").join()).check()


async def crashes():
    async with connect() as client:
        topic = await Topic(client, "crash").join()
        await topic.channel.push("crash", {})
        await until("the client rejoins", lambda: topic.states == [SUBSCRIBED, ERROR, SUBSCRIBED])
        await topic.check()


async def joins_twice():
    async with connect() as client:
        topic = await Topic(client, "twice").join()
        equal("one channel", True, client.channel("twice") is topic.channel)
        await topic.check()
    raise NotOffered("this client has one channel for a topic")


async def forced_disconnect():
    async with connect(user_id="realtime-forced") as client, Operator() as operator:
        topic = await Topic(client, "forced").join()
        await operator.disconnect("realtime-forced")
        await rejoined(topic)


async def dropped_tcp():
    async with connect(PROXY) as client:
        topic = await Topic(client, "dropped").join()
        cut_proxy()
        await rejoined(topic)


async def rejoined(topic):
    await until("the client rejoins", lambda: topic.states == [SUBSCRIBED, ERROR, SUBSCRIBED])
    await topic.check()


class Received(logging.Handler):
    """What the client says it received: of heartbeats it tells its log alone."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.heartbeats = 0

    def emit(self, record):
        text = record.getMessage()
        if text.startswith("receive: ") and '"topic":"phoenix"' in text and '"status":"ok"' in text:
            self.heartbeats += 1


async def heartbeats():
    """The client's least interval is 15 s: the first comes at once."""
    log, received = logging.getLogger("realtime._async.client"), Received()
    log.addHandler(received)
    log.setLevel(logging.DEBUG)
    try:
        async with connect(hb_interval=15) as client:
            topic = await Topic(client, "heartbeat").join()
            await until("the first is answered", lambda: received.heartbeats == 1)
            await until("the second is answered", lambda: received.heartbeats == 2)
            await topic.check()
            equal("states", [SUBSCRIBED], topic.states)
    finally:
        log.removeHandler(received)
        log.setLevel(logging.NOTSET)


async def presence():
    async with connect() as first, connect() as second, connect() as third:
        one = await Topic(first, "presence", key="alice").join()
        two = await Topic(second, "presence", key="alice").join()
        bob = await Topic(third, "presence", key="bob").join()
        await one.channel.track({"tab": "one"})
        await two.channel.track({"tab": "two"})
        await bob.channel.track({"tab": "three"})
        for topic in (one, two, bob):
            await until_tabs(topic, {"alice": ["one", "two"], "bob": ["three"]})
        await bob.channel.track({"tab": "four"})
        await until_tabs(one, {"alice": ["one", "two"], "bob": ["four"]})
        await two.channel.untrack()
        await until_tabs(bob, {"alice": ["one"], "bob": ["four"]})
        await first.close()
        await until_tabs(bob, {"bob": ["four"]})


async def until_tabs(topic, want):
    await until(f"presences are {want}", lambda: topic.tabs() == want)


async def long_polling():
    raise NotOffered("a WebSocket is its only transport")


asyncio.run(
    run(
        {
            "connect": connects,
            "connect refused": connect_refused,
            "join": joins,
            "join refused": join_refused,
            "push: ok, error, timeout": pushes,
            "push from the server": push_from_server,
            "broadcast": broadcasts,
            "broadcast_from": broadcasts_from,
            "binary": binary,
            "leave": leaves,
            "channel stopped by the server": stopped,
            "crash and rejoin": crashes,
            "duplicate join": joins_twice,
            "forced disconnect": forced_disconnect,
            "dropped TCP": dropped_tcp,
            "heartbeat": heartbeats,
            "presence: two users, two tabs": presence,
            "long polling": long_polling,
        }
    )
)
