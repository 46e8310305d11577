"""How often a client may fail to log in: so many times a minute, then it is answered 429 until time has passed.

A client is its address, or its network where that is of IPv6. Who has once shown the right login from an address is
looked at there whatever others do: Label Studio may share it with somebody who guesses. Each web process counts for
itself.
"""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from flask import Request
from werkzeug.exceptions import HTTPException, TooManyRequests

_MOST = 10_000
"""Clients that are kept in mind, of those that fail and of those that do not; of more, the oldest are forgotten."""

T = TypeVar("T")

_NETWORK = 64
"""Bits of an IPv6 address by which a client is known: the rest it chooses itself."""


class Client(NamedTuple):
    """Who logs in as what (``kind``: of whom the login is)."""

    kind: str
    address: str

    @classmethod
    def of(cls, kind: str, request: Request) -> "Client":
        """Read it from a request; an address that is none (of a socket file) stands for itself."""
        told = request.remote_addr or ""
        try:
            address = ipaddress.ip_address(told.partition("%")[0])
        except ValueError:
            return cls(kind, told)
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is None:
                return cls(kind, str(ipaddress.ip_network((address, _NETWORK), strict=False)))
            address = address.ipv4_mapped
        return cls(kind, str(address))


class Attempts:
    """Failed logins of one process; safe between threads. ``per_minute`` is also how many there may be at once; 0: any.

    ``tell`` hears of each failure, with its kind and whether it was one too many.
    """

    def __init__(
        self, per_minute: int, tell: Callable[[str, bool], None] = lambda _kind, _limited: None, most: int = _MOST
    ) -> None:
        self._per_minute, self._tell, self._most = per_minute, tell, most
        self._left: OrderedDict[Client, tuple[float, float]] = OrderedDict()
        self._known: OrderedDict[Client, None] = OrderedDict()
        self._lock = threading.Lock()

    def allow(self, client: Client) -> None:
        """Raise TooManyRequests where the client has failed too often to be looked at, unless it has been right."""
        with self._lock:
            wait = 0.0 if client in self._known else self._wait(client, time.monotonic())
        if wait:
            raise self._too_many(client, wait)

    def succeed(self, client: Client) -> None:
        """Note that it was right."""
        with self._lock:
            _keep(self._known, client, None, self._most)

    def fail(self, client: Client, error: HTTPException) -> HTTPException:
        """Count a failure; give what is to be raised, which is ``error`` where it was not one too many."""
        now = time.monotonic()
        with self._lock:
            wait = self._wait(client, now)
            if not wait and self._per_minute:
                _keep(self._left, client, (self._tokens(client, now) - 1, now), self._most)
        if wait:
            return self._too_many(client, wait)
        self._tell(client.kind, False)
        return error

    def _too_many(self, client: Client, wait: float) -> TooManyRequests:
        self._tell(client.kind, True)
        seconds = int(wait) + 1
        return TooManyRequests(
            f"too many failed logins from this address; the next is looked at in {seconds} s", retry_after=seconds
        )

    def _wait(self, client: Client, now: float) -> float:
        """Say in how many seconds a failure may be counted; 0 for now."""
        if not self._per_minute:
            return 0.0
        return max(0.0, (1 - self._tokens(client, now)) * 60 / self._per_minute)

    def _tokens(self, client: Client, now: float) -> float:
        left, at = self._left.get(client, (float(self._per_minute), now))
        return min(self._per_minute, left + (now - at) * self._per_minute / 60)


def _keep(kept: "OrderedDict[Client, T]", client: Client, value: T, most: int) -> None:
    kept[client] = value
    kept.move_to_end(client)
    while len(kept) > most:
        kept.popitem(last=False)
