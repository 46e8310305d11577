"""A wire to a server that can be cut: TCP in between, so that it knows no protocol and breaks where it likes."""

import contextlib
import selectors
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)
_LOOK_SECONDS = 0.05


class Wire:
    """Passes on what comes at ``port`` of 127.0.0.1 to ``to``: a port of this machine, or the path of a Unix socket.

    ``cut`` resets all connections, and refuses new ones for a while. ``cut_after`` resets the next connections that
    send so many bytes without hearing an answer: in the middle of an upload.
    """

    def __init__(self, to: int | str) -> None:
        self.to = to
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listening.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed_until = 0.0
        self._most_bytes, self._breaks = 0, 0
        self.broken = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._accept, name=f"wire {self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._listening.close()
        self._reset_all()

    def cut(self, seconds: float = 0.0) -> None:
        """Reset every connection now, and refuse new ones for so many seconds."""
        self._closed_until = time.monotonic() + seconds
        self._reset_all()

    def cut_after(self, sent: int, times: int) -> None:
        """Reset, ``times`` times, a connection that has sent so many bytes and heard nothing meanwhile."""
        self._most_bytes, self._breaks = sent, times

    def _accept(self) -> None:
        self._listening.settimeout(_LOOK_SECONDS)
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listening.accept()
                if time.monotonic() < self._closed_until:
                    _reset(client)
                    continue
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        client.settimeout(None)
        server = socket.socket(socket.AF_INET if isinstance(self.to, int) else socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            server.connect(("127.0.0.1", self.to) if isinstance(self.to, int) else self.to)
        except OSError:
            server.close()
            _reset(client)
            return
        for side in (client, server):
            with contextlib.suppress(OSError):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {client, server}
        try:
            self._copy(client, server)
        except (OSError, ValueError):  # reset by a side, or closed by ``cut`` meanwhile
            pass
        finally:
            with self._lock:
                self._open -= {client, server}
            _reset(client)
            _reset(server)

    def _copy(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        with selectors.DefaultSelector() as either:
            either.register(client, selectors.EVENT_READ, server)
            either.register(server, selectors.EVENT_READ, client)
            while either.get_map():
                for key, _ in either.select(1.0):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    content = source.recv(65536)
                    if not content:
                        either.unregister(source)
                        key.data.shutdown(socket.SHUT_WR)
                        continue
                    sent = sent + len(content) if source is client else 0
                    if self._breaks > 0 and sent > self._most_bytes:
                        self._breaks -= 1
                        self.broken += 1
                        return
                    key.data.sendall(content)
                if client.fileno() < 0 or server.fileno() < 0:
                    return

    def _reset_all(self) -> None:
        with self._lock:
            found, self._open = self._open, set()
        for one in found:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Wakes who waits for it; the thread that copies closes it, which sends the reset.
                one.shutdown(socket.SHUT_RDWR)


def _reset(side: socket.socket) -> None:
    """Close a connection so that the other side learns of an error, not of an end."""
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    side.close()
