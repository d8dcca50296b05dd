"""A proxy on loopback that breaks TCP connections by script.

    python chaos.py <URL of the server>

Prints two URLs, its own and the one of its control, and serves until it is killed.

    POST <control>  [{"match", "times", "direction", "after", "action", "seconds"}]: what goes wrong. A fault is taken
                    by the next piece that a client sends, on any connection, with the text `match` in it ("": any),
                    `times` (1) times. From that piece on `after` (0) bytes pass in its `direction` ("up" to the server,
                    "down" back), then its `action` happens: "reset", "close", "delay" by `seconds`, or "trickle", a
                    byte every `seconds`.
    GET <control>   {"connections": how many there were, "taken": [the faults that were]}

Up after 0 bytes the server has seen nothing; down after 0 bytes it has answered, and the client does not know.
"""

import json
import select
import socket
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

Fault = dict[str, Any]


class Script:
    """What is to go wrong, and what did."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.faults: list[Fault] = []
        self.taken: list[Fault] = []
        self.connections = 0

    def take(self, piece: bytes) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.get("times", 1) > 0 and fault.get("match", "").encode() in piece:
                    fault["times"] = fault.get("times", 1) - 1
                    self.taken.append(fault)
                    return {"after": 0, "seconds": 0, **fault}
        return None


class Connection:
    """One client, and the connection to the server that is opened for it."""

    def __init__(self, script: Script, client: socket.socket, server: socket.socket) -> None:
        self.script, self.client, self.server = script, client, server
        self.fault: Fault | None = None

    def run(self) -> None:
        # One thread for both directions: only a socket that no other thread reads is closed at once, with a reset.
        with self.client, self.server:
            open_ends = [self.client, self.server]
            try:
                while open_ends:
                    for source in select.select(open_ends, [], [])[0]:
                        if piece := source.recv(65536):
                            self.send(piece, source)
                        else:
                            open_ends.remove(source)
                            self.other(source).shutdown(socket.SHUT_WR)
            except OSError:
                return

    def other(self, end: socket.socket) -> socket.socket:
        return self.server if end is self.client else self.client

    def send(self, piece: bytes, source: socket.socket) -> None:
        if source is self.client and self.fault is None:
            self.fault = self.script.take(piece)
        fault, sink = self.fault, self.other(source)
        if fault is None or fault["direction"] != ("up" if source is self.client else "down"):
            sink.sendall(piece)
            return
        sink.sendall(piece[: fault["after"]])
        rest, fault["after"] = piece[fault["after"] :], max(0, fault["after"] - len(piece))
        if rest:
            self.act(rest, sink, fault)

    def act(self, rest: bytes, sink: socket.socket, fault: Fault) -> None:
        if fault["action"] == "reset":
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if fault["action"] in {"reset", "close"}:
            raise ConnectionError
        if fault["action"] == "trickle":
            for byte in rest:
                sink.sendall(bytes([byte]))
                time.sleep(fault["seconds"])
            return
        time.sleep(fault["seconds"])
        self.fault = None
        sink.sendall(rest)


class Control(BaseHTTPRequestHandler):
    """How tests say what goes wrong."""

    script: Script

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.script.lock:
            self.script.faults += body
        self.do_GET()

    def do_GET(self) -> None:
        with self.script.lock:
            body = json.dumps({"connections": self.script.connections, "taken": self.script.taken}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: the only lines of output are the URLs."""


def main() -> None:
    target = urlsplit(sys.argv[1])
    script = Control.script = Script()
    control = ThreadingHTTPServer(("127.0.0.1", 0), Control)
    Thread(target=control.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as door:
        sys.stdout.write(f"http://127.0.0.1:{door.getsockname()[1]}\nhttp://127.0.0.1:{control.server_port}\n")
        sys.stdout.flush()
        while True:
            client, _ = door.accept()
            script.connections += 1
            server = socket.create_connection((target.hostname or "", target.port or 80))
            Thread(target=Connection(script, client, server).run, daemon=True).start()


if __name__ == "__main__":
    main()
