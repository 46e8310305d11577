"""One client: requests read in full before anybody works on them, answers written while it reads them.

The bytes of HTTP/1.1 are h11's; what is here is how long a client may take, and how much it may send.
"""

import asyncio
import io
import logging
import time
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING

import h11
from werkzeug.exceptions import BadRequest, HTTPException, RequestTimeout

from labelloop.front.protocol import ARRIVED, HttpAnswer, Way, call, environ_of, put_body, refuse

if TYPE_CHECKING:
    from labelloop.front.house import House

_log = logging.getLogger(__name__)

READ = 1 << 18
"""Bytes taken from a socket at a time; twice as many wait for us before the client has to."""
_HEAD_BYTES = 1 << 16
_BYTES_PER_SECOND = 1_000_000
"""What a client has a second more for, of a body or of an answer."""
IDLE_SECONDS = 75.0
"""How long a connection is kept for another request."""
_FREE_PIECES = 10_000
_LEAST_PIECE = 256
"""Bytes that pieces of a body have on the average, beyond the first: each costs the event loop some microseconds."""


class ClientConnection:
    """Talks with one client until it leaves, is too slow, or has to go; see House."""

    def __init__(self, house: "House", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._house = house
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._task = asyncio.current_task()
        self._seconds = house.gate.client_seconds
        self.idle = False
        """Whether it waits for a request of which nothing has come."""
        self.reading = True
        """Whether it waits for a request, or for the rest of one."""
        self.held = 0
        """Bytes of a body in memory."""

    async def serve(self) -> None:
        """Answer request after request."""
        self._writer.transport.set_write_buffer_limits(high=0)  # drained is then: all is the kernel's
        first = True
        try:
            while await self._exchange(self._seconds if first else IDLE_SECONDS):
                first = False
        except (OSError, TimeoutError):
            self._house.refused("lost")
            _log.debug("a client was lost")
        finally:
            self._writer.transport.abort()

    def drop(self) -> None:
        """Hang up without a word."""
        self._writer.transport.abort()
        if self._task is not None:
            self._task.cancel()

    async def _exchange(self, patience: float) -> bool:
        """Read one request and answer it; says whether another may follow."""
        self.reading = True
        self._house.waits(self)
        try:
            head = await self._read_head(patience)
        except h11.RemoteProtocolError as error:
            self._house.refused("unreadable")
            return await self._send(HttpAnswer.of_error(error.error_status_hint, _unread("request", error)))
        except RequestTimeout as error:
            self._house.refused("slow")
            return await self._send(HttpAnswer.of_error(408, str(error.description)))
        return head is not None and await self._send(await self._answer(head))

    async def _answer(self, head: h11.Request) -> HttpAnswer:
        environ = environ_of(head, *self._house.ends(self._writer, head))
        try:
            way = self._house.way(environ)
            put_body(environ, await self._read_body(head, way))
            self._house.works(self)
            environ[ARRIVED] = time.perf_counter()
            answer = await self._house.answer(way, environ)
        except HTTPException as error:
            refuse(environ, error)
            answer = call(self._house.app, environ)
        finally:
            self._house.release(self)
        return answer._replace(body=b"") if head.method == b"HEAD" else answer

    async def _read_head(self, patience: float) -> h11.Request | None:
        """Wait ``patience`` for the first byte, then for the rest; None when nobody has begun to ask.

        Raises RemoteProtocolError and RequestTimeout.
        """
        event = self._http.next_event()
        if event is h11.NEED_DATA:
            self.idle = True
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    self._http.receive_data(await self._reader.read(READ))
            self.idle = False
            if not self._http.trailing_data[0]:
                return None
            event = self._http.next_event()
        give_up = time.monotonic() + self._seconds
        while event is h11.NEED_DATA:
            await self._read_more(give_up - time.monotonic(), "the head of the request")
            event = self._http.next_event()
        if not isinstance(event, h11.Request):
            return None
        names = {name for name, _ in event.headers}
        if {b"transfer-encoding", b"content-length"} <= names:
            raise h11.RemoteProtocolError("both Transfer-Encoding and Content-Length")
        if not event.http_version.startswith(b"1."):
            raise h11.RemoteProtocolError("another version of HTTP", error_status_hint=505)
        return event

    async def _read_body(self, head: h11.Request, way: Way) -> io.BytesIO:
        """Read to the end of the body; raises what is to be answered instead."""
        announced = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        if announced > way.max_bytes:
            raise way.over
        body, pieces, began = io.BytesIO(), 0, time.monotonic()
        while not isinstance(event := self._next_piece(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                pieces += 1
                if body.tell() + len(event.data) > way.max_bytes:
                    raise way.over
                if pieces > _FREE_PIECES and body.tell() < _LEAST_PIECE * pieces:
                    raise BadRequest(f"the body comes in pieces of less than {_LEAST_PIECE} bytes")
                self._house.hold(self, len(event.data))
                body.write(event.data)
            else:
                await self._allow_body()
                spent = time.monotonic() - began
                await self._read_more(self._seconds + body.tell() / _BYTES_PER_SECOND - spent, "the body")
        return body

    def _next_piece(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(_unread("body", error)) from error

    async def _read_more(self, seconds: float, what: str) -> None:
        """Take what has come from the client; raises RequestTimeout, naming ``what``, when nothing does in time."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                self._http.receive_data(await self._reader.read(READ))
        except TimeoutError as error:
            raise RequestTimeout(f"{what} did not come in time (LABELLOOP_CLIENT_SECONDS)") from error

    async def _allow_body(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))

    async def _send(self, answer: HttpAnswer) -> bool:
        """Write an answer; says whether the connection may be used again."""
        self.reading = False
        self._house.waits(self)
        whole = self._http.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        headers = [*answer.headers, (b"Date", formatdate(usegmt=True).encode())]
        if self._house.closing or not whole:
            headers.append((b"Connection", b"close"))
        head = h11.Response(status_code=answer.status, reason=answer.reason, headers=headers)
        pieces = [self._http.send(event) for event in (head, h11.Data(data=answer.body), h11.EndOfMessage())]
        await self._write(b"".join(piece for piece in pieces if piece))
        if not whole:
            await self._hang_up()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _write(self, content: bytes) -> None:
        self._writer.write(content)
        async with asyncio.timeout(self._seconds + len(content) / _BYTES_PER_SECOND):
            await self._writer.drain()

    async def _hang_up(self) -> None:
        """End our side, and take no notice of what still comes: a reset would take the answer from the client."""
        self.reading = True
        self._writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while await self._reader.read(READ):
                    pass


def _unread(what: str, error: Exception) -> str:
    """Say that something is no HTTP, in letters that may stand in a status line."""
    told = "".join(letter if " " <= letter <= "~" else "?" for letter in str(error))
    return f"the {what} is no HTTP/1.1 that can be read: {told}"[:300]
