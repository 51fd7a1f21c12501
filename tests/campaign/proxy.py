"""A TCP proxy on this machine that passes on, is slow, answers nonsense, or hangs up, as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

CLOSE = b"Connection: close\r\n\r\n"
ANSWERS = {
    "refuse": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n" + CLOSE,
    "error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n" + CLOSE,
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n" + CLOSE + b"<html></html>",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" + CLOSE + b"{}",
}
SLOW_S = 1.0


class Proxy:
    """Stands before a server of this machine.

    Attributes:
        mode: ``pass``; ``slow``: a second late with each piece; a word of ``ANSWERS``: that answer to whatever is
            asked; ``hang up``: closes at once.
    """

    def __init__(self, port: int) -> None:
        self.mode = "pass"
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.mode == "hang up":
                return
            if answer := ANSWERS.get(self.mode):
                client.recv(65536)
                client.sendall(answer)
                return
            with socket.create_connection(("127.0.0.1", self._to)) as upstream:
                back = threading.Thread(target=self._pass_on, args=(upstream, client), daemon=True)
                back.start()
                self._pass_on(client, upstream)
                back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if self.mode in ANSWERS or self.mode == "hang up":
                    break
                if self.mode == "slow":
                    time.sleep(SLOW_S)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
