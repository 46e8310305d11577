"""The worker class of gunicorn: ``gunicorn --worker-class labelloop.front.worker.Worker``."""

import asyncio
import os
import resource
import signal
import threading
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from gunicorn.workers import base  # type: ignore[import-untyped]

from labelloop.front.connection import READ
from labelloop.front.house import House
from labelloop.front.protocol import warm_up_of

_LOOK_SECONDS = 1.0
_OTHER_FILES = 256
"""Descriptors that are left for what the app itself opens."""


class Worker(base.Worker):  # type: ignore[misc]
    """Serves an app that has a gate (``labelloop.front.gate``); gunicorn's ``threads`` are not looked at."""

    def run(self) -> None:
        """Serve until gunicorn says it is enough; called in the worker's process."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        for number in (signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, os._exit, 0)
        house = House(self.wsgi, self._connections(), self._proxies())
        servers = [
            await asyncio.start_server(house.welcome, sock=one.sock, backlog=self.cfg.backlog, limit=READ)
            for one in self.sockets
        ]
        threading.Thread(target=warm_up_of(self.wsgi), name="warm up", daemon=True).start()
        enough = asyncio.create_task(ended.wait())
        while not enough.done() and self.alive:
            await self._look(enough)
        for server in servers:
            server.close()
        closing, give_up = asyncio.create_task(house.close()), loop.time() + self.cfg.graceful_timeout
        while not closing.done() and loop.time() < give_up:
            await self._look(closing)
        if not closing.done():
            os._exit(0)  # else Python waits for the threads, however long they take

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

    def _proxies(self) -> "list[IPv4Network | IPv6Network | str]":
        return ["*"] if "*" in self.cfg.forwarded_allow_ips else list(self.cfg.forwarded_allow_networks())
