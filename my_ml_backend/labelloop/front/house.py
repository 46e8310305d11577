"""All clients of one process: how many there may be, what they hold, and the threads that work for them."""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11
from werkzeug.exceptions import ServiceUnavailable

from labelloop.front.connection import ClientConnection
from labelloop.front.protocol import INLINE, HttpAnswer, Way, call, gate_of, unseen_of

_log = logging.getLogger(__name__)

_CLOSING_SECONDS = 2.0
"""How long the rest of a request may take when the house closes."""
_LOOK_SECONDS = 0.05


@dataclass
class _Pool:
    threads: ThreadPoolExecutor
    inside: int = 0


class House:
    """Lives in one event loop. Where clients wait for threads, threads never wait for clients.

    Of ``most`` connections a new one takes the place of that whose client has kept us waiting longest. Half of them at
    most may have work waiting or done for them. Where ``essential`` paths are named, only they are answered, and every
    answer is the last of its connection. With ``forwarded``, ``proxies`` say who their clients are.
    """

    def __init__(
        self,
        app: WSGIApplication,
        most: int,
        proxies: Collection[IPv4Network | IPv6Network | str],
        essential: Collection[str] | None = None,
        *,
        forwarded: bool = False,
    ) -> None:
        self.app = app
        self.gate = gate_of(app)
        self.refused = unseen_of(app)
        self.closing = essential is not None
        self._essential = essential
        self._most = most
        self._proxies = proxies
        self._forwarded = forwarded
        self._inside: set[ClientConnection] = set()
        self._waiting: dict[ClientConnection, None] = {}
        self._held = 0
        self._pools = {
            name: _Pool(ThreadPoolExecutor(count, thread_name_prefix=name)) for name, count in self.gate.pools.items()
        }

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self._inside)

    @property
    def held(self) -> int:
        """How many bytes of bodies are in memory."""
        return self._held

    @property
    def working(self) -> int:
        """How many requests are being worked on or wait for a thread."""
        return sum(pool.inside for pool in self._pools.values())

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with a client to its end."""
        if len(self._inside) >= self._most:
            self.refused("full")  # one of them has to go, or this one
            if not self._drop_one(self._waiting):
                writer.transport.abort()
                return
        connection = ClientConnection(self, reader, writer)
        self._inside.add(connection)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            _log.debug("a client had to go")
        except Exception:  # noqa: BLE001 - border: one client's trouble is no other's
            _log.exception("a connection failed")
        finally:
            self.release(connection)
            self._forget(connection)

    def waits(self, connection: ClientConnection) -> None:
        """From now on this client keeps us waiting."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def works(self, connection: ClientConnection) -> None:
        """From now on we keep this client waiting."""
        self._waiting.pop(connection, None)

    def hold(self, connection: ClientConnection, count: int) -> None:
        """Count bytes of a body; where there are too many, the oldest that are not whole go.

        Raises ServiceUnavailable when all others are being worked on.
        """
        connection.held += count
        self._held += count
        while self._held > self.gate.bodies_bytes:
            if not self._drop_one([one for one in self._waiting if one.held and one is not connection]):
                raise ServiceUnavailable("too many large requests at a time; ask again in a moment", retry_after=1)

    def release(self, connection: ClientConnection) -> None:
        """Forget the bytes of a connection's body."""
        self._held -= connection.held
        connection.held = 0

    def way(self, environ: WSGIEnvironment) -> Way:
        """Ask the gate; raises the HTTPException that is to be answered without reading the body."""
        if self._essential is not None and environ["PATH_INFO"] not in self._essential:
            raise ServiceUnavailable("the web workers do not answer; webhooks are taken meanwhile", retry_after=1)
        return self.gate.way(environ)

    async def answer(self, way: Way, environ: WSGIEnvironment) -> HttpAnswer:
        """Have the app answer, in the pool of its way; raises ServiceUnavailable when too many wait for that."""
        if way.pool == INLINE:
            return call(self.app, environ)
        pool = self._pools[way.pool]
        if pool.inside >= max(1, self._most // (2 * len(self._pools))):
            raise ServiceUnavailable("the server is busy; ask again in a moment", retry_after=1)
        pool.inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool.threads, call, self.app, environ)
        finally:
            pool.inside -= 1

    def ends(self, writer: asyncio.StreamWriter, head: h11.Request) -> tuple[str, tuple[object, ...], str]:
        """Name both ends of a connection and the scheme; only a proxy that is trusted may say it was https.

        Where proxies are trusted with that, the client is who the nearest of them says it is, that is no proxy.
        """
        peer, own = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        client = str(peer[0]) if isinstance(peer, tuple) else ""
        server = own[:2] if isinstance(own, tuple) else ("localhost", 0)
        told = next((value for name, value in head.headers if name == b"x-forwarded-proto"), b"")
        scheme = "https" if told == b"https" and self._is_proxy(client) else "http"
        if self._forwarded and self._is_proxy(client):
            client = self._named(head) or client
        return client, server, scheme

    def _named(self, head: h11.Request) -> str:
        """Read X-Forwarded-For from its end, where the nearest proxy writes; what clients wrote is not believed."""
        lines = [value.decode("latin-1") for name, value in head.headers if name == b"x-forwarded-for"]
        for one in reversed(",".join(lines).split(",")):
            try:
                address = str(ipaddress.ip_address(one.strip()))
            except ValueError:
                return ""
            if "*" in self._proxies or not self._is_proxy(address):
                return address
        return ""

    async def close(self) -> None:
        """Let every request that has come be answered; whoever has not begun one goes at once."""
        self.closing = True
        give_up = time.monotonic() + _CLOSING_SECONDS
        while self._inside:
            late = time.monotonic() > give_up
            for connection in [one for one in self._waiting if one.idle or (late and one.reading)]:
                self._drop_one([connection])
            await asyncio.sleep(_LOOK_SECONDS)

    def _drop_one(self, connections: Collection[ClientConnection]) -> bool:
        for connection in connections:
            self.release(connection)
            self._forget(connection)
            connection.drop()
            return True
        return False

    def _forget(self, connection: ClientConnection) -> None:
        self._inside.discard(connection)
        self._waiting.pop(connection, None)

    def _is_proxy(self, client: str) -> bool:
        if "*" in self._proxies:
            return True
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        return any(not isinstance(one, str) and address in one for one in self._proxies)
