"""What a test lets happen at the next calls of a stand-in, and the names of all calls that came."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Call = TypeVar("Call")


@dataclass
class _Planned(Generic[Call]):
    """What happens at the next calls of a name; None: at all of them."""

    name: str
    times: int | None
    act: Callable[[Call], None]
    after: bool = False


@dataclass
class Plans(Generic[Call]):
    """Notes calls, and acts before or after they are answered; what acts may raise what the door answers."""

    calls: list[str] = field(default_factory=list)
    _plans: list[_Planned[Call]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, name: str, act: Callable[[Call], None], times: int | None = 1, *, after: bool = False) -> None:
        """Let ``act`` happen before (or after) the next calls of a name."""
        with self._lock:
            self._plans.append(_Planned(name, times, act, after))

    def forget(self) -> None:
        """Forget all calls and plans."""
        with self._lock:
            self.calls.clear()
            self._plans.clear()

    def happen(self, call: Call, *names: str, after: bool) -> None:
        """Act as was planned for a call, which is noted by the first of its names; one plan acts at a time."""
        with self._lock:
            if not after:
                self.calls.append(names[0])
            plan = next((one for one in self._plans if one.after == after and one.name in names), None)
            if plan is None:
                return
            if plan.times is not None:
                plan.times -= 1
                if not plan.times:
                    self._plans.remove(plan)
        plan.act(call)
