"""phoenix-channels-python-client through the behaviours; the argument is its protocol version."""

import asyncio
import itertools
import sys
import time
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from lab import PATIENCE, PROXY, SERVER, NotOffered, Operator, cut_proxy, equal, run, until
from phoenix_channels_python_client import PHXChannelsClient, ReconnectPolicy
from phoenix_channels_python_client.exceptions import PHXConnectionError, PHXTopicError
from phoenix_channels_python_client.utils import make_message

VERSION = sys.argv[1]
V2 = VERSION == "2.0"
DROPS_BROADCASTS = "on V2 this client drops what has no join_ref, as broadcasts have none; on V1 it gets them"

# The client's own wait for seconds, which other tests need not.
AT_ONCE = ReconnectPolicy(base_delay_s=0.1, rapid_first_min_delay_s=0, rapid_second_min_delay_s=0)


def topic_of(name):
    """A topic that the two versions do not share."""
    return f"{name}-py{VERSION}"


class User:
    """One client, and what happened to it."""

    def __init__(self, addr, path, params, version, heartbeat):
        self.events = {}  # by topic: [(event, payload, ref)]
        self.disconnects = 0
        self.reconnects = 0
        self.heartbeats = 0  # answered on this connection
        self.connected_at = time.monotonic()
        self.lost = {}  # topic: why
        self.refs = (f"push{n}" for n in itertools.count())
        self.client = PHXChannelsClient(
            f"ws://{addr}{path}/websocket?{urlencode(params)}",
            api_key="any",
            protocol_version=version,
            reconnect_policy=AT_ONCE,
            heartbeat_interval_s=heartbeat,
            on_reconnect=self.on_reconnect,
            on_disconnect=self.on_disconnect,
            on_heartbeat_ack=self.on_heartbeat_ack,
            on_topic_lost=self.on_topic_lost,
        )

    async def on_reconnect(self):
        self.reconnects += 1
        self.heartbeats = 0
        self.connected_at = time.monotonic()

    async def on_disconnect(self, _):
        self.disconnects += 1
        self.connected_at = None

    def on_heartbeat_ack(self):
        self.heartbeats += 1

    def age(self):
        """Seconds since the connection opened; none while there is none."""
        return time.monotonic() - self.connected_at if self.connected_at else 0

    async def on_topic_lost(self, topic, error):
        self.lost[topic] = error

    async def join(self, topic):
        events = self.events[topic] = []

        async def note(message):
            events.append((str(message.event), message.payload, message.ref))

        await self.client.subscribe_to_topic(topic, note)

    async def send(self, topic, event, payload=None):
        """Pushes by the client's protocol handler: it has no push of its own. Returns the ref."""
        ref = next(self.refs)
        join_ref = self.client.get_current_subscriptions()[topic].join_ref if V2 else None
        message = make_message(event=event, topic=topic, ref=ref, payload=payload or {}, join_ref=join_ref)
        await self.client.get_protocol_handler().send_message(self.client.connection, message)
        return ref

    async def push(self, topic, event, payload=None):
        """Pushes and waits for the reply."""
        ref = await self.send(topic, event, payload)
        await until(f"a reply to {event}", lambda: self.replies(topic, ref))
        equal("replies", 1, len(self.replies(topic, ref)))
        return self.replies(topic, ref)[0]

    def replies(self, topic, ref):
        return [payload for event, payload, answered in self.events[topic] if answered == ref and event == "phx_reply"]

    def got(self, topic, event):
        return [payload for name, payload, _ in self.events[topic] if name == event]

    async def check(self, topic):
        """Shows that the channel works: an echo comes back."""
        reply = await self.push(topic, "echo", {"text": "still here"})
        equal("reply", {"status": "ok", "response": {"text": "still here"}}, reply)


@asynccontextmanager
async def connect(path="/socket", addr=SERVER, version=VERSION, heartbeat=30.0, **params):
    user = User(addr, path, params, version, heartbeat)
    async with user.client:
        yield user


async def connects():
    topic = topic_of("echo:connect")
    async with connect(user_id="python connects & more") as user:
        await user.join(topic)
        info = await user.push(topic, "connect_info")
        equal("socket id", "users_socket:python connects & more", info["response"]["id"])


async def connect_refused():
    try:
        async with connect(token="bad"):
            raise AssertionError("the connection was accepted")
    except PHXConnectionError as error:
        equal("tells the status", True, "403" in str(error))


async def joins():
    topic = topic_of("echo:join")
    async with connect() as user:
        await user.join(topic)
        equal("joined", True, user.client.is_topic_joined(topic))
        await user.check(topic)


async def join_refused():
    async with connect() as user:
        try:
            await user.join("deny:any")
            raise AssertionError("the join was accepted")
        except PHXTopicError as error:
            equal("reason", "unauthorized", str(error))


async def pushes():
    topic = topic_of("echo:push")
    payload = {"list": [1, 2.5, None, "a,b"], "text": "äöü <&>"}
    async with connect() as user:
        await user.join(topic)
        equal("ok", {"status": "ok", "response": payload}, await user.push(topic, "echo", payload))
        equal("error", {"status": "error", "response": payload}, await user.push(topic, "echo_error", payload))
        silent = await user.send(topic, "noreply")
        await user.check(topic)  # nothing may come before this answer
        equal("replies to noreply", [], user.replies(topic, silent))
    return "the client has no push, replies and timeouts of its own: sent by its protocol handler, replies come as events"


async def push_from_server():
    topic = topic_of("echo:pushed")
    async with connect() as user:
        await user.join(topic)
        await user.send(topic, "push_me", {"n": 1})
        await until("the push", lambda: user.got(topic, "pushed") == [{"n": 1}])


async def broadcasts():
    topic = topic_of("echo:broadcast")
    async with connect() as sender, connect(version="1.0") as other:
        await sender.join(topic)
        await other.join(topic)
        await sender.send(topic, "shout", {"text": "to all"})
        await until("the broadcast", lambda: other.got(topic, "shout") == [{"text": "to all"}])
        await sender.check(topic)
        offered([{"text": "to all"}], sender.got(topic, "shout"))


async def broadcasts_from():
    topic = topic_of("echo:from")
    async with connect() as sender, connect(version="1.0") as other, connect() as third:
        for user in (sender, other, third):
            await user.join(topic)
        await sender.send(topic, "shout_from", {"text": "to the others"})
        await until("the broadcast", lambda: other.got(topic, "shout") == [{"text": "to the others"}])
        for user in (sender, third):
            await user.check(topic)
        equal("broadcasts to the sender", [], sender.got(topic, "shout"))
        offered([{"text": "to the others"}], third.got(topic, "shout"))


def offered(want, got):
    """On V2 the client drops broadcasts, those of a real Phoenix too: if it gets one, the table must say so."""
    if V2 and not got:
        raise NotOffered(DROPS_BROADCASTS)
    equal("broadcasts", want, got)


async def binary():
    raise NotOffered("payloads of this client are JSON")


async def leaves():
    topic = topic_of("room:leave")
    async with connect(user="alice") as user, Operator() as operator:
        await user.join(topic)
        await until("is present", lambda: user.got(topic, "presence_state"))
        await user.client.unsubscribe_from_topic(topic)
        equal("subscriptions", {}, user.client.get_current_subscriptions())
        await until_present(operator, topic, {"anon": 1})
        await user.join(topic)
        await user.check(topic)


async def until_present(operator, topic, want):
    """Waits for the server's list; the operator, who asks, is in it as anon."""
    async with asyncio.timeout(PATIENCE):
        while True:
            listed = await operator.push(topic, "list", {})
            if {key: len(entry["metas"]) for key, entry in listed.items()} == want:
                return
            await asyncio.sleep(0.05)


async def stopped():
    topic = topic_of("echo:stop")
    async with connect() as user:
        await user.join(topic)
        await user.send(topic, "stop")
        await until("the client tells that the topic is lost", lambda: topic in user.lost)
        equal("joined", False, user.client.is_topic_joined(topic))
        await user.join(topic)
        await user.check(topic)


async def crashes():
    topic = topic_of("echo:crash")
    async with connect() as user:
        await user.join(topic)
        before = user.client.get_current_subscriptions()[topic].join_ref
        await user.send(topic, "crash")
        await until(
            "the client rejoins",
            lambda: user.client.is_topic_joined(topic)
            and user.client.get_current_subscriptions()[topic].join_ref != before,
        )
        await user.check(topic)
        equal("disconnects", 0, user.disconnects)


async def joins_twice():
    topic = topic_of("echo:twice")
    async with connect() as user:
        await user.join(topic)
        first = user.events[topic]
        try:
            await user.join(topic)
        except PHXTopicError:
            user.events[topic] = first
            await user.check(topic)
            raise NotOffered("this client refuses a second subscription of a topic") from None


async def forced_disconnect():
    topic, name = topic_of("echo:forced"), topic_of("forced")
    async with connect(user_id=name) as user, Operator() as operator:
        await user.join(topic)
        await operator.disconnect(name)
        await rejoined(user, topic)


async def dropped_tcp():
    topic = topic_of("echo:dropped")
    async with connect(addr=PROXY) as user:
        await user.join(topic)
        cut_proxy()
        await rejoined(user, topic)


async def rejoined(user, topic):
    await until("the client reconnects", lambda: user.disconnects == 1 and user.reconnects == 1)
    await until("the client rejoins", lambda: user.client.is_topic_joined(topic))
    await user.check(topic)


async def heartbeats():
    """The socket at /short ends what has been silent for 1.5 s, as a process may be on a busy machine: then another
    connection lasts."""
    topic = topic_of("echo:heartbeat")
    async with connect("/short", heartbeat=None) as silent, connect("/short", heartbeat=0.3) as user:
        await user.join(topic)
        await until("the silent one is disconnected", lambda: silent.disconnects > 0)
        await until("a connection lasts", lambda: user.age() > 4.5 and user.heartbeats > 5)
        await user.check(topic)


async def presence():
    topic = topic_of("room:presence")
    async with connect(user="bob") as bob, connect(user="alice") as one:
        await bob.join(topic)
        await one.join(topic)
        async with connect(user="alice") as two:
            await two.join(topic)
            await until("a state of all", lambda: tabs(two, topic) == {"alice": 2, "bob": 1})
            if V2:
                raise NotOffered("presence_state arrives, but presence_diff is a broadcast: " + DROPS_BROADCASTS)
            await until("bob sees both tabs", lambda: tabs(bob, topic) == {"alice": 2, "bob": 1})
            await two.client.unsubscribe_from_topic(topic)
        await until("bob sees one tab go", lambda: tabs(bob, topic) == {"alice": 1, "bob": 1})
        await one.client.shutdown("done")
        await until("bob sees alice go", lambda: tabs(bob, topic) == {"bob": 1})
    return "as events: the client keeps no presences"


def tabs(user, topic):
    """How many presences each user has by the last state and the diffs behind it."""
    metas = {}
    for event, payload, _ in user.events[topic]:
        if event == "presence_state":
            metas = {key: refs(entry) for key, entry in payload.items()}
        elif event == "presence_diff":
            for key, entry in payload["joins"].items():
                metas[key] = metas.get(key, set()) | refs(entry)
            for key, entry in payload["leaves"].items():
                metas[key] = metas.get(key, set()) - refs(entry)
    return {key: len(these) for key, these in metas.items() if these}


def refs(entry):
    return {meta["phx_ref"] for meta in entry["metas"]}


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
