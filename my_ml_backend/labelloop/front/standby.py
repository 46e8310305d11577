"""A process that stands by: it takes connections while no worker does, and gives them back when one lives again.

Workers beat ten times a second in memory that they share with it. A worker that hangs or is stopped beats no more; the
connections that wait in the socket's queue, and all later ones, are the standby's then. What the worker had taken
before is lost with it.
"""

import asyncio
import logging
import mmap
import struct
import time
from typing import Protocol

_log = logging.getLogger(__name__)

NAME = "web standby"
"""What ``top`` and ``ps -o comm`` call its process."""

BEAT_SECONDS = 0.1
_PATIENCE = 5
"""Looks in a row without a beat, after which nobody is alive: Label Studio waits one second for ``/health``."""
_LATE_SECONDS = 3 * BEAT_SECONDS
"""Between two looks: the machine itself stood still, and the workers with it."""
_COUNT = struct.Struct("Q")


class Doors(Protocol):
    """What the standby opens and closes."""

    async def open(self) -> None:
        """Accept connections."""

    def close(self) -> None:
        """Accept no more of them; those that there are stay."""


class Pulse:
    """The beats of all workers together, in memory that is shared with every process forked later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size)

    @property
    def beats(self) -> int:
        """A number that changes as long as any worker lives; 0 before the first has begun."""
        return int(_COUNT.unpack_from(self._memory)[0])

    async def beat(self) -> None:
        """Beat until this is cancelled, or the event loop hangs."""
        while True:
            _COUNT.pack_into(self._memory, 0, time.monotonic_ns())
            await asyncio.sleep(BEAT_SECONDS)


class Judgement:
    """Says from look to look whether any worker is alive.

    It counts looks and not seconds: where the whole machine stood still, all its processes wake up together.
    """

    def __init__(self) -> None:
        self._beats = 0
        self._silent = 0
        self._looked = float("-inf")

    def alive(self, beats: int, now: float) -> bool:
        """Look once; ``now`` is in seconds. Before the first beat there is nobody to stand in for."""
        late, self._looked = now - self._looked > _LATE_SECONDS, now
        if beats != self._beats or late:
            self._beats, self._silent = beats, 0
        else:
            self._silent += 1
        return beats == 0 or self._silent < _PATIENCE


async def stand_by(pulse: Pulse, doors: Doors) -> None:
    """Keep the doors open while no worker lives, and closed otherwise, until this is cancelled."""
    judgement, is_open = Judgement(), False
    while True:
        alive = judgement.alive(pulse.beats, time.monotonic())
        if is_open and alive:
            doors.close()
            _log.warning("a web worker is alive again: the standby takes no more connections")
        elif not is_open and not alive:
            await doors.open()
            _log.warning(
                "no web worker has been alive for %g s: the standby answers /health and takes webhooks, and answers "
                "503 to all else. gunicorn replaces workers that stand still",
                _PATIENCE * BEAT_SECONDS,
            )
        is_open = not alive
        await asyncio.sleep(BEAT_SECONDS)
