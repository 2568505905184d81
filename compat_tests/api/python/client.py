"""Uses the generated client against a server: python client.py URL KEY. It fails if an
answer cannot be read, or is not what it should be."""

import sys
from datetime import datetime, timedelta, timezone

from generated import AuthenticatedClient
from generated.api.default import (
    broadcast, broadcast_many, create_instance, delete_instance, disconnect, get_instance, leave, list_revocations,
    list_sockets, list_users, patch_instance, push, revoke, subscribe, unsubscribe,
)
from generated.models import (
    Audience, Batch, BatchMessage, Broadcast, Disconnect, Labels, Patch, PatchLabelsType0, Push, PushPayload, RevocationRequest, Spec,
)

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)
ID = "python"


def status(answer, want):
    assert answer.status_code == want, (answer.status_code, answer.content)
    return answer.parsed


spec = Spec(type_="relay", id=ID, config={"topics": ["room:*"]}, labels=Labels.from_dict({"team": "red"}))
made = status(create_instance.sync_detailed(client=client, body=spec), 201)
assert made.state == "running" and made.labels["team"] == "red", made

hello = Broadcast.from_dict({"topic": "room:1", "event": "hello", "payload": {"n": 1}})
for replayed in None, "true":
    answer = broadcast.sync_detailed(ID, client=client, body=hello, idempotency_key="one")
    status(answer, 204)
    assert answer.headers.get("idempotency-replayed") == replayed, answer.headers

messages = [BatchMessage(topics=["room:1", "room:2"], event="a"), BatchMessage(topics=["room:1"], event="phx_close")]
results = status(broadcast_many.sync_detailed(ID, client=client, body=Batch(messages=messages)), 200).results
assert [r.sent for r in results] == [2, 0], results
assert results[1].problem.errors[0].field == "/messages/1/event", results

payload = PushPayload.from_dict({"n": 1})
status(push.sync_detailed(ID, client=client, body=Push(user="ada", topic="room:1", event="psst", payload=payload)), 204)
for what in subscribe, unsubscribe, leave:
    status(what.sync_detailed(ID, client=client, body=Audience(socket_id="ada", topic="room:1")), 204)
status(disconnect.sync_detailed(ID, client=client, body=Disconnect(user="ada", reconnect=False)), 204)

until = datetime.now(timezone.utc) + timedelta(hours=1)
revoked = status(revoke.sync_detailed(ID, client=client, body=RevocationRequest(user="ada", expires=until)), 200)
assert abs(revoked.expires - until) < timedelta(seconds=1), revoked
assert list_revocations.sync(ID, client=client, limit=10).revocations[0].user == "ada"
assert list_users.sync(ID, client=client).users == []
assert list_sockets.sync(ID, client=client, user="ada").sockets == []

wrong = status(push.sync_detailed(ID, client=client, body=Push(topic="room:1", event="psst")), 422)
assert wrong.errors[0].field == "/user", wrong
missing = status(get_instance.sync_detailed("nobody", client=client), 404)
assert missing.type_ == "urn:mycelium:problem:not-found", missing

fewer = Patch(labels=PatchLabelsType0.from_dict({"team": None}))
changed = status(patch_instance.sync_detailed(ID, client=client, body=fewer, if_match="*"), 200)
assert not changed.labels, changed
status(delete_instance.sync_detailed(ID, client=client), 204)
print("done")
