"""Which of the product's files a piece of work enters, and how often it waits for Redis."""

import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from redis import Redis

PRODUCT = Path(__file__).parents[1] / "my_ml_backend"


@dataclass
class Trace:
    """What was entered, in all threads that the work started and its own.

    ``files`` are paths below ``my_ml_backend`` in the order in which they were first entered. A hop is a call that
    enters another file than the thread's call before it. Bodies of modules and classes do not count: an import is made
    once. ``calls`` of generators count each time they go on.
    """

    files: list[str] = field(default_factory=list)
    hops: int = 0
    calls: int = 0
    functions: set[CodeType] = field(default_factory=set, repr=False)

    def figures(self) -> dict[str, int]:
        """The counts by name."""
        return {"files": len(self.files), "hops": self.hops, "functions": len(self.functions), "calls": self.calls}


@contextmanager
def tracing(wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Trace]:
    """Trace what happens in the block, in ``wanted`` files; threads that run already go unseen.

    Not for two blocks at a time.
    """
    recorder = _Recorder(wanted)
    threading.setprofile(recorder.hear)
    sys.setprofile(recorder.hear)
    try:
        yield recorder.trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def side_by_side(traces: Sequence[tuple[str, Trace]]) -> Iterator[str]:
    """Yield a line for each file that any of the traces entered: the file, and its place in each, ``-`` for not."""
    places = [{path: place for place, path in enumerate(trace.files, 1)} for _, trace in traces]
    yield f"{'':<58} " + " ".join(f"{name:>9}" for name, _ in traces)
    for path in dict.fromkeys(path for _, trace in traces for path in trace.files):
        yield f"{path:<58} " + " ".join(f"{place.get(path, '-'):>9}" for place in places)


def round_trips(redis: Redis) -> list[list[str]]:
    """Note from now on what a client sends: for each round trip the names of its commands, a pipeline's together."""
    pool, sent = redis.connection_pool, list[list[str]]()
    usual = pool.connection_class

    def send(connection: Any, command: Any, check_health: bool = True) -> None:
        sent.append(_commands(command))
        usual.send_packed_command(connection, command, check_health)

    pool.disconnect()
    pool.reset()
    pool.connection_class = type("Noting", (usual,), {"send_packed_command": send})
    redis.ping()
    sent.clear()  # what a new connection says of itself
    return sent


def _commands(packed: Any) -> list[str]:
    """Read the names out of commands as they go on the wire: ``*2\\r\\n$4\\r\\nHGET...``."""
    sent = packed if isinstance(packed, bytes) else b"".join(packed)
    return [name.decode() for name in re.findall(rb"(?:\A|\r\n)\*\d+\r\n\$\d+\r\n(\w+)", sent)]


class _Recorder:
    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.trace = Trace()
        self._wanted = wanted
        self._known: set[str] = set()
        self._thread = threading.local()

    def hear(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_PREFIX) or not code.co_flags & _OPTIMIZED:
            return
        trace, path = self.trace, code.co_filename
        if not self._wanted(path.removeprefix(_PREFIX)):
            return
        trace.calls += 1
        trace.functions.add(code)
        if path not in self._known:
            self._known.add(path)
            trace.files.append(path.removeprefix(_PREFIX))
        before = getattr(self._thread, "path", None)
        if before not in (None, path):
            trace.hops += 1
        self._thread.path = path


_PREFIX = f"{PRODUCT}/"
_OPTIMIZED = 0x1
"""CO_OPTIMIZED: set for functions, not for the bodies of modules and classes."""
