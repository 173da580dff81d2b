"""Stands between a registry and its log, and lets the log answer late, twice or not at all."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import urllib3

_WELL = "well"
_FATES = (_WELL, "late", "twice", "no answer", "never arrives")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class FickleLog:
    """A proxy in a thread of the test, which mistreats requests while it `is_fickle`.

    What it does is drawn by chance: it hands a request on and its answer back; hands it on, and the answer back late;
    hands it on twice, and the second answer back; hands it on, and closes the connection without an answer; or closes
    it at once.
    """

    def __init__(self, seed: int) -> None:
        self.target = ""
        self.is_fickle = False
        self._done = dict.fromkeys(_FATES, 0)
        self._random = Random(seed)
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._http = urllib3.PoolManager(timeout=30.0, retries=False, maxsize=16)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.serve(self)

            def do_POST(self) -> None:
                outer.serve(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def before(self, url: str) -> str:
        """Stand before the log at this address; answers the address to ask instead."""
        self.target = url
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Deal with one request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        fate = self._draw()
        if fate == "never arrives":
            return self._hang_up(handler)
        answer = self._hand_on(handler, body)
        if fate == "twice":
            answer = self._hand_on(handler, body)
        if fate == "no answer" or answer is None:
            return self._hang_up(handler)
        if fate == "late":
            self._stopping.wait(self._random.uniform(0.1, 3.0))
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.data)))
        handler.end_headers()
        handler.wfile.write(answer.data)
        return None

    def mistreated(self) -> dict[str, int]:
        """How many requests were not dealt with well, by what was done to them."""
        with self._mutex:
            return {fate: count for fate, count in self._done.items() if fate != _WELL}

    def close(self) -> None:
        """Let go of everything."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._http.clear()

    def _draw(self) -> str:
        with self._mutex:
            fate = self._random.choice(_FATES) if self.is_fickle else _WELL
            self._done[fate] += 1
            return fate

    def _hand_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> urllib3.BaseHTTPResponse | None:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            return self._http.request(
                handler.command,
                self.target + handler.path,
                body=body or None,
                headers={**headers, "Accept-Encoding": "identity"},
                redirect=False,
            )
        except urllib3.exceptions.HTTPError:
            return None

    @staticmethod
    def _hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        try:
            handler.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
