"""The back end of a moderated chat: FastAPI, and PostgreSQL for its users, rooms and messages.

../README.md says how to run it.
"""

import base64
import hmac
import json
import os
import re
import secrets
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import Body, Depends, FastAPI, Header, HTTPException, Request
from fastapi.staticfiles import StaticFiles
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

HOOK_SECRET, MYCELIUM_KEY = os.environ.get("HOOK_SECRET"), os.environ.get("MYCELIUM_KEY")
if not HOOK_SECRET or not MYCELIUM_KEY:
    raise SystemExit("HOOK_SECRET and MYCELIUM_KEY must be set: see ../README.md")
HERE = Path(__file__).parent

DATABASE_URL = os.environ.get("DATABASE_URL", "postgresql:///chat")
MYCELIUM_SERVER = os.environ.get("MYCELIUM_SERVER", "http://localhost:4000")

pool = ConnectionPool(DATABASE_URL, open=False, kwargs={"row_factory": dict_row})
mycelium = httpx.Client(
    base_url=f"{MYCELIUM_SERVER}/api/instances/default/", headers={"Authorization": f"Bearer {MYCELIUM_KEY}"}
)


@asynccontextmanager
async def lifespan(_: FastAPI):
    with pool, mycelium:
        with pool.connection() as db:
            db.execute((HERE / "schema.sql").read_text())
        yield


app = FastAPI(lifespan=lifespan)


def verify(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    id, sent, signatures = (headers.get("webhook-" + name, "") for name in ("id", "timestamp", "signature"))
    expected = b"v1," + base64.b64encode(hmac.digest(key, f"{id}.{sent}.".encode() + body, "sha256"))
    fresh = sent.isdecimal() and abs(time.time() - int(sent)) < 300
    return fresh and any(hmac.compare_digest(expected, s.encode()) for s in signatures.split())


def user_of(db, token):
    return db.execute(
        "select * from users join sessions using (name) where token = %s and not banned", [str(token)]
    ).fetchone()


def connect(db, r):
    user = user_of(db, r.get("params", {}).get("token"))
    if user is None:
        return {"allow": False}
    return {"allow": True, "socket_id": f"users:{user['name']}", "assigns": {"user": user["name"]}}


def join(db, r):
    topic, user = r["topic"], r["assigns"]["user"]
    member = db.execute(
        "select moderator from members join users using (name) where topic = %s and name = %s and not banned",
        [topic, user],
    ).fetchone()
    if member is None:
        return {"allow": False, "reply": {"reason": "members only"}}
    messages = db.execute(
        "select id, name, body from messages where topic = %s order by id desc limit 20", [topic]
    ).fetchall()
    role = "moderator" if member["moderator"] else "member"
    return {
        "allow": True,
        "reply": {"role": role, "messages": messages[::-1]},
        "assigns": {"role": role},
        "track": {"key": user, "meta": {"role": role, "status": "here"}},
    }


def event(db, r):
    topic, user, role = r["topic"], r["assigns"]["user"], r["assigns"]["role"]
    match r["event"], r.get("payload"):
        case "new_msg", {"body": str(text)} if len(text) <= 2000:
            if role != "moderator" and "://" in text:
                return refuse("only moderators post links")
            body = re.sub(r"\bdarn\b", "****", text, flags=re.IGNORECASE)
            message = db.execute(
                "insert into messages (topic, name, body) values (%s, %s, %s) returning id, name, body",
                [topic, user, body],
            ).fetchone()
            broadcast = [{"event": "new_msg", "payload": message}]
            return {"allow": True, "reply": {"id": message["id"]}, "broadcast": broadcast}
        case "new_msg", _:
            return refuse("a message has a body of up to 2000 characters")
        case "search", {"text": str(text)}:
            found = db.execute(
                "select id, name, body from messages where topic = %s and body ilike %s order by id desc limit 20",
                [topic, f"%{text}%"],
            ).fetchall()
            return {"allow": True, "reply": {"messages": found}}
        case "status", {"status": str(status)}:
            track = {"key": user, "meta": {"role": role, "status": status[:100]}}
            return {"allow": True, "reply": {}, "track": track}
    return refuse("unknown event")


def refuse(reason):
    return {"allow": False, "reply": {"reason": reason}}


def told(db, events):
    for e in events:
        if db.execute("insert into told values (%s) on conflict do nothing", [e["id"]]).rowcount == 0:
            continue  # it has been handled
        match e:
            case {"type": "joined"}:
                db.execute("update rooms set visits = visits + 1 where topic = %s", [e["topic"]])
            case {"type": "published", "event": "new_msg"}:
                db.execute("update rooms set posts = posts + 1 where topic = %s", [e["topic"]])
            case {"type": "left"}:
                db.execute("update users set last_seen = %s where name = %s", [e["time"], e.get("user")])


async def signed(request: Request):
    body = await request.body()
    if not verify(HOOK_SECRET, request.headers, body):
        raise HTTPException(401)
    return json.loads(body)


@app.post("/mycelium")
def decide(r: Annotated[dict, Depends(signed)]):
    with pool.connection() as db:  # a transaction
        if "events" in r:
            return told(db, r["events"])
        return {"connect": connect, "join": join, "event": event}[r["type"]](db, r)


@app.post("/login")  # your own login: this one lets in whoever knows a name
def login(name: Annotated[str, Body(embed=True)]):
    with pool.connection() as db:
        if db.execute("select from users where name = %s and not banned", [name]).fetchone() is None:
            raise HTTPException(403)
        token = secrets.token_urlsafe()
        db.execute("insert into sessions values (%s, %s)", [token, name])
    return {"token": token}


@app.post("/ban", status_code=204)
def ban(authorization: Annotated[str, Header()], user: Annotated[str, Body(embed=True)]):
    with pool.connection() as db:
        by = user_of(db, authorization.removeprefix("Bearer "))
        if by is None or not by["moderator"]:
            raise HTTPException(403)
        db.execute("update users set banned = true where name = %s", [user])
        db.execute("delete from sessions where name = %s", [user])
        topics = [row["topic"] for row in db.execute("select topic from members where name = %s", [user])]
    call("revocations", {"user": user})
    call("broadcasts", {"messages": [{"topics": topics, "event": "put_out", "payload": {"user": user}}]})


def call(action, body):
    mycelium.post(action, json=body).raise_for_status()


@app.get("/rooms")
def rooms():
    with pool.connection() as db:
        return db.execute("select * from rooms order by topic").fetchall()


app.mount("/", StaticFiles(directory=HERE.parent / "page", html=True))
