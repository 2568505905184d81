"""gql's Phoenix transport with examples/graphql, whose address is in GRAPHQL_ADDR."""

import asyncio
import os
import pathlib
import re
import sys
import unittest

from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.phoenix_channel_websockets import PhoenixChannelWebsocketsTransport

ADDR = os.environ["GRAPHQL_ADDR"]
PATIENCE = 45  # seconds, far above what anything takes

POSTED = "subscription ($room: String!) { posted(room: $room) { user body } }"
POST = "mutation ($room: String!, $body: String!) { post(room: $room, user: \"ada\", body: $body) { body } }"
MESSAGES = "query ($room: String!) { messages(room: $room) { body } }"


def client(**options):
    transport = PhoenixChannelWebsocketsTransport(f"ws://{ADDR}/socket/websocket", **options)
    # The schema is asked for by introspection, and documents are checked against it.
    return Client(transport=transport, fetch_schema_from_transport=True)


def document(query, **variables):
    request = gql(query)
    request.variable_values = variables
    return request


class Subscription:
    """A subscription of a session, and what came of it."""

    def __init__(self, session, query, **variables):
        self.results = asyncio.Queue()
        self.generator = session.subscribe(document(query, **variables))
        self.task = asyncio.create_task(self.collect())

    async def collect(self):
        async for result in self.generator:
            await self.results.put(result["posted"]["body"])

    async def next(self):
        """Returns the next result but those that came while subscriptions of the room began."""
        while (result := await asyncio.wait_for(self.results.get(), PATIENCE)) == "begin":
            pass
        return result

    def rest(self):
        """Returns what is left of what has come, but those."""
        left = [self.results.get_nowait() for _ in range(self.results.qsize())]
        return [result for result in left if result != "begin"]

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.generator.aclose()


class Absinthe(unittest.IsolatedAsyncioTestCase):
    async def post(self, session, room, body):
        result = await session.execute(document(POST, room=room, body=body))
        self.assertEqual(result, {"post": {"body": body}})

    async def subscribe(self, session, room):
        """Returns when the subscription has begun, which the client does not tell: results come."""
        subscription = Subscription(session, POSTED, room=room)
        while subscription.results.empty():
            await self.post(session, room, "begin")
            await asyncio.sleep(0.01)
        return subscription

    async def test_query_and_mutation(self):
        async with client() as session:
            await self.post(session, "query", "Grüße 你好 🍄")
            result = await session.execute(document(MESSAGES, room="query"))
            self.assertEqual(result, {"messages": [{"body": "Grüße 你好 🍄"}]})

    async def refused(self, execution, reason):
        # assertRaises would clear the frames of the traceback, and one of them is the client's loop, which goes on.
        try:
            await execution
        except TransportQueryError as error:
            self.assertIn(reason, str(error))
        else:
            self.fail(f"no error: {reason}")

    async def test_errors(self):
        async with client() as session:
            await self.refused(self.post(session, "", "no room"), "room has 0 bytes, want 1 to 1000")
            session.client.schema = None  # from now on, documents are not checked before they are sent
            await self.refused(session.execute(document("{ nothing }")), 'Cannot query field "nothing"')
            subscription = session.subscribe(document("subscription { nothing }"))
            await self.refused(anext(subscription), 'Cannot query field "nothing"')
            await self.post(session, "errors", "the connection goes on")

    async def test_subscriptions(self):
        async with client() as session, client() as other:
            first, second = await self.subscribe(session, "first"), await self.subscribe(other, "first")
            elsewhere = await self.subscribe(session, "elsewhere")
            for n in range(20):
                await self.post(other, "first", str(n))
            for subscription in (first, second):
                self.assertEqual([await subscription.next() for _ in range(20)], [str(n) for n in range(20)])
            await first.stop()
            await self.post(session, "first", "after the end")
            self.assertEqual(await second.next(), "after the end")
            self.assertEqual(first.rest() + elsewhere.rest(), [])
            again = await self.subscribe(session, "first")
            for subscription in (again, second, elsewhere):
                await subscription.stop()

    async def test_one_document_twice(self):
        async with client() as session:
            first, second = await self.subscribe(session, "twice"), await self.subscribe(session, "twice")
            await self.post(session, "twice", "one")
            self.assertEqual([await first.next(), await second.next()], ["one", "one"])
            await first.stop()
            await self.post(session, "twice", "two")
            self.assertEqual(await second.next(), "two")
            await second.stop()

    async def test_heartbeat(self):
        async with client(heartbeat_interval=0.05) as session:
            await asyncio.sleep(0.5)
            await self.post(session, "heartbeat", "still here")

    async def test_snippet(self):
        """The snippet of docs/examples.md prints what somebody posts."""
        docs = pathlib.Path(__file__).parents[3] / "docs" / "examples.md"
        [code] = [code for code in re.findall(r"```python\n(.*?)```", docs.read_text(), re.S) if "gql" in code]
        addressed = code.replace("localhost:4000", ADDR)
        self.assertNotEqual(addressed, code)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-c", addressed, stdout=asyncio.subprocess.PIPE
        )
        self.addAsyncCleanup(process.wait)
        self.addCleanup(process.kill)
        line = asyncio.create_task(process.stdout.readline())
        async with client() as session, asyncio.timeout(PATIENCE):
            while not line.done():
                await self.post(session, "lobby", "hello")
                await asyncio.sleep(0.05)
        self.assertEqual(await line, b"{'user': 'ada', 'body': 'hello'}\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
