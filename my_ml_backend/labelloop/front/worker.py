"""The worker class of gunicorn: ``gunicorn --worker-class labelloop.front.worker.Worker``."""

import asyncio
import os
import resource
import signal
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from gunicorn.workers import base  # type: ignore[import-untyped]

from labelloop.front.connection import READ
from labelloop.front.house import House
from labelloop.front.protocol import warm_up_of
from labelloop.front.standby import NAME, Pulse, stand_by

_LOOK_SECONDS = 1.0
_OTHER_FILES = 256
"""Descriptors that are left for what the app itself opens."""


class Worker(base.Worker):  # type: ignore[misc]
    """Serves an app that has a gate (``labelloop.front.protocol``); gunicorn's ``threads`` are not looked at.

    ``pre_fork`` of a configuration may give it the ``pulse`` of all workers, and make it the one that stands by: for
    ``essential`` paths alone, while no other worker lives.
    """

    pulse: Pulse | None = None
    essential: Collection[str] | None = None

    def run(self) -> None:
        """Serve until gunicorn says it is enough; called in the worker's process."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        for number in (signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, os._exit, 0)
        house = House(self.wsgi, self._connections(), self._proxies(), self.essential, forwarded=self._forwarded())
        doors = _Doors(house, self.sockets, self.cfg.backlog)
        duty = asyncio.create_task(self._duty(doors))
        enough = asyncio.create_task(ended.wait())
        while not enough.done() and self.alive:
            if duty.done():
                duty.result()  # raises what ended it
            await self._look(enough)
        duty.cancel()
        doors.close()
        for one in self.sockets:
            one.sock.close()
        closing, give_up = asyncio.create_task(house.close()), loop.time() + self.cfg.graceful_timeout
        while not closing.done() and loop.time() < give_up:
            await self._look(closing)
        if not closing.done():
            os._exit(0)  # else Python waits for the threads, however long they take

    async def _duty(self, doors: "_Doors") -> None:
        """Serve, and say so to the one that stands by; or stand by."""
        if self.essential is not None and self.pulse is not None:
            with suppress(OSError):  # there is such a file on Linux
                Path("/proc/self/comm").write_text(NAME)
            await stand_by(self.pulse, doors)
        await doors.open()
        threading.Thread(target=warm_up_of(self.wsgi), name="warm up", daemon=True).start()
        if self.pulse is not None:
            await self.pulse.beat()
        await asyncio.Event().wait()

    async def _look(self, task: "asyncio.Task[Any]") -> None:
        """Tell gunicorn that the event loop is well, if it lives, and wait a second or until the task is done."""
        if self.ppid != os.getppid():
            os._exit(1)  # gunicorn was killed, and so are we
        self.notify()
        await asyncio.wait((task,), timeout=_LOOK_SECONDS)

    def _connections(self) -> int:
        """How many connections there may be: gunicorn's setting, as far as there are descriptors for them."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(16, min(int(self.cfg.worker_connections), files - _OTHER_FILES))

    def _forwarded(self) -> bool:
        """Whether somebody named the proxies: gunicorn's own word for this machine is none."""
        return "FORWARDED_ALLOW_IPS" in os.environ or "*" in self.cfg.forwarded_allow_ips

    def _proxies(self) -> "list[IPv4Network | IPv6Network | str]":
        return ["*"] if "*" in self.cfg.forwarded_allow_ips else list(self.cfg.forwarded_allow_networks())


class _Doors:
    """The sockets that are listened at, as long as they are open; other processes listen at the same."""

    def __init__(self, house: House, sockets: Sequence[Any], backlog: int) -> None:
        self._house, self._sockets, self._backlog = house, sockets, backlog
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        """Accept connections, those first that wait."""
        self._servers = [
            await asyncio.start_server(self._house.welcome, sock=one.sock.dup(), backlog=self._backlog, limit=READ)
            for one in self._sockets
        ]

    def close(self) -> None:
        """Accept no more connections; those that there are stay."""
        for server in self._servers:
            server.close()
        self._servers = []
