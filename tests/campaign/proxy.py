"""A TCP proxy on this machine that passes on, is slow, answers 503, or hangs up, as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SLOW_S = 1.0


class Proxy:
    """Stands before a server of this machine.

    Attributes:
        mode: ``pass``; ``slow``: a second late with each piece; ``refuse``: answers 503; ``hang up``: closes at once.
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
            if self.mode == "refuse":
                client.recv(65536)
                client.sendall(REFUSAL)
                return
            with socket.create_connection(("127.0.0.1", self._to)) as upstream:
                back = threading.Thread(target=self._pass_on, args=(upstream, client), daemon=True)
                back.start()
                self._pass_on(client, upstream)
                back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if self.mode in ("refuse", "hang up"):
                    break
                if self.mode == "slow":
                    time.sleep(SLOW_S)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
