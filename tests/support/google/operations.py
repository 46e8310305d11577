"""Long-running operations: time is told by looks, so that nothing in a test sleeps.

An operation is done when it, its list or the thing that it changes has been looked at ``looks`` times; what it does, it
does then. ``looks`` of None lets it go on until the test says ``finish``.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json
from support.google.front import Route
from support.google.names import new_id
from support.google.wire import Call, Refused, invalid, missing, now, page

_TYPES = "type.googleapis.com/google.cloud.aiplatform.v1."


@dataclass
class Operation:
    """One operation: what it is called in ``fail``, what it changes, and what is left until it is done."""

    name: str
    kind: str
    target: str
    act: Callable[[], Json]
    metadata: str
    response: str
    looks: int | None
    fault: Refused | None = None
    partial: list[Json] = field(default_factory=list)
    told: Json = field(default_factory=dict)
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    cancelled: bool = False

    def describe(self) -> Json:
        """Give what Google answers."""
        about: Json = {"createTime": self.created, "updateTime": self.updated}
        if self.told and self.partial:
            about["partialFailures"] = self.partial
        metadata = {"@type": _TYPES + self.metadata, "genericMetadata": about}
        return {"name": self.name, "metadata": metadata, **({"done": True, **self.told} if self.told else {})}

    def finish(self) -> None:
        """Do what is asked, or fail as a test wants it to."""
        if self.told:
            return
        try:
            if self.fault:
                raise self.fault
            done = self.act()
        except Refused as error:
            self.told = {"error": error.rpc}
        else:
            kind = self.response if self.response.startswith("type.") else _TYPES + self.response
            self.told = {"response": {"@type": kind, **done}}
        self.updated = now()


EMPTY = "type.googleapis.com/google.protobuf.Empty"


@dataclass
class Operations:
    """All operations; ``looks``: how often one is seen before it is done."""

    looks: int | None = 1
    _all: dict[str, Operation] = field(default_factory=dict)
    _faults: dict[str, list[Refused]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        return [
            Route("aiplatform:GET operations/*", "operations.get", self._get),
            Route(
                "aiplatform:GET operations", "operations.list", self._list, query=("filter", "pageSize", "pageToken")
            ),
            Route("aiplatform:POST operations/*:cancel", "operations.cancel", self._cancel),
            Route("aiplatform:POST operations/*:wait", "operations.wait", self._wait, query=("timeout",)),
            Route("aiplatform:DELETE operations/*", "operations.delete", self._delete),
        ]

    def forget(self) -> None:
        """Forget everything."""
        with self.lock:
            self._all.clear()
            self._faults.clear()
            self.looks = 1

    def begin(
        self,
        kind: str,
        target: str,
        act: Callable[[], Json],
        metadata: str,
        response: str = EMPTY,
        changes: str = "",
        partial: list[Json] | None = None,
    ) -> Json:
        """Begin what ``act`` does; ``changes`` is what it changes, where that is not the target itself.

        What ``act`` adds to ``partial`` are google.rpc.Status of what it could not do.
        """
        with self.lock:
            faults = self._faults.get(kind) or self._faults.get("")
            fault = faults.pop(0) if faults else None
            name = f"{target}/operations/{new_id()}"
            begun = Operation(
                name,
                kind,
                changes or target,
                act,
                metadata,
                response,
                self.looks,
                fault,
                [] if partial is None else partial,
            )
            self._all[name] = begun
            if begun.looks == 0:
                begun.finish()
            return begun.describe()

    def fail(self, kind: str, status: str, message: str) -> None:
        """Let the next operation of a kind (the verb or ``create`` and the like; empty: any) end in an error."""
        with self.lock:
            self._faults.setdefault(kind, []).append(Refused(status, message))

    def pending(self, target: str = "") -> list[Operation]:
        """Give the operations that go on, of one thing or of all."""
        with self.lock:
            return [one for one in self._all.values() if not one.told and target in ("", one.target)]

    def finish(self) -> None:
        """Let all be done now."""
        for one in self.pending():
            one.finish()

    def look(self, target: str) -> None:
        """Let what goes on with a thing be seen once."""
        with self.lock:
            for one in self.pending(target):
                _look(one)

    def refuse_while(self, target: str, what: str) -> None:
        """Refuse to change a thing that is being changed."""
        with self.lock:
            names = [one.name for one in self.pending(target)]
        if names:
            raise Refused(
                "FAILED_PRECONDITION",
                f'There are other operations running on the {what} "{target}". Operation(s) are: {", ".join(names)}.',
            )

    def _get(self, call: Call) -> Json:
        with self.lock:
            found = self._named(call)
            _look(found)
            return found.describe()

    def _list(self, call: Call) -> Json:
        parent = call.resource.removesuffix("/operations")
        with self.lock:
            found = [one for one in self._all.values() if one.name.startswith(f"{parent}/")]
            for one in found:
                _look(one)
            told = [one.describe() for one in found]
        wanted = call.query.get("filter", "")
        if wanted not in ("", "done=true", "done=false"):
            raise invalid(f"Invalid filter: {wanted!r}.")
        done = {"done=true": [True], "done=false": [False]}.get(wanted, [True, False])
        return page(call, [one for one in told if one.get("done", False) in done][::-1], "operations")

    def _wait(self, call: Call) -> Json:
        return self._get(call)

    def _cancel(self, call: Call) -> Json:
        with self.lock:
            found = self._named(call)
            if not found.told:
                found.fault = Refused("CANCELLED", "The operation was cancelled.")
                found.finish()
            return {}

    def _delete(self, call: Call) -> Json:
        with self.lock:
            if not self._named(call).told:
                raise Refused("FAILED_PRECONDITION", f"The operation {call.resource} is not done.")
            del self._all[call.resource]
            return {}

    def _named(self, call: Call) -> Operation:
        found = self._all.get(call.resource)
        if found is None:
            raise missing("Operation", call.resource)
        return found


def _look(one: Operation) -> None:
    """See an operation once: it is done at the look after the last in which it goes on."""
    if one.told or one.looks is None:
        return
    if one.looks:
        one.looks -= 1
    else:
        one.finish()
