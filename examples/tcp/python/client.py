"""A client over raw TCP. It joins a topic and prints the messages that it gets. Each line
of its input is a JSON object, which it pushes as the event "msg".

    python3 examples/tcp/python/client.py 127.0.0.1 4001 room:1 [token]
"""

import json
import random
import socket
import struct
import sys
import threading
import time

TEXT, CONNECT, ACCEPTED, REFUSED, CLOSE, PING, PONG = 1, 3, 4, 5, 8, 9, 10


class Client:
    def __init__(self, topic, token=""):
        self.topic, self.token, self.conn, self.writing = topic, token, None, threading.Lock()
        self.open = threading.Event()  # the server has accepted the connection

    def send(self, kind, body):
        with self.writing:  # packets of two threads must not mix
            if self.conn:
                try:
                    self.conn.sendall(struct.pack(">IB", 1 + len(body), kind) + body)
                except OSError:
                    pass  # receive fails too

    def push(self, *message):
        self.send(TEXT, json.dumps(message).encode())

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.conn.recv(size - len(data))
            if not more:
                raise ConnectionError("the server has ended the connection")
            data += more
        return data

    def session(self):
        """Runs until the connection ends, or returns how many seconds to wait at least."""
        self.conn.settimeout(45)  # heartbeats are answered sooner
        request = {"path": "/socket", "params": {"token": self.token}}
        self.send(CONNECT, json.dumps(request).encode())
        self.push("1", "1", self.topic, "phx_join", {})  # need not wait for the answer
        while True:
            length, kind = struct.unpack(">IB", self.read(5))
            body = self.read(length - 1)
            if kind == ACCEPTED:
                self.open.set()
            elif kind == REFUSED:
                status, least = struct.unpack(">HH", body[:4])
                print("refused", status, body[4:].decode(), flush=True)
                return least
            elif kind == TEXT:
                print(body.decode(), flush=True)
            elif kind == PING:
                self.send(PONG, body)
            elif kind == CLOSE and body:
                print("closed", struct.unpack(">H", body[:2])[0], body[2:].decode(), flush=True)

    def beat(self):
        while True:
            time.sleep(30)
            self.push(None, "3", "phoenix", "heartbeat", {})

    def run(self, host, port):
        threading.Thread(target=self.beat, daemon=True).start()
        failures = 0
        while True:
            least = 0
            try:
                with socket.create_connection((host, port), timeout=10) as self.conn:
                    least = self.session()
            except OSError as error:
                print("lost:", error, flush=True)
            self.conn, failures = None, 0 if self.open.is_set() else failures + 1
            self.open.clear()
            most = min(30, 2 ** min(failures, 5))
            wait = least + random.uniform(most / 2, most)  # so that not all come back at once
            print(f"reconnecting in {wait:.1f} s", flush=True)
            time.sleep(wait)


def read_lines(client):
    for line in sys.stdin:
        client.open.wait()
        try:
            client.push("1", "2", client.topic, "msg", json.loads(line))
        except ValueError as error:
            print("not JSON:", error, file=sys.stderr)


if len(sys.argv) not in (4, 5):
    sys.exit("usage: client.py HOST PORT TOPIC [TOKEN]")
client = Client(*sys.argv[3:])
threading.Thread(target=read_lines, args=(client,), daemon=True).start()
try:
    client.run(*sys.argv[1:3])
except KeyboardInterrupt:
    pass
