"""The project's two pointers and its fence: one object, moved by compare-and-swap only (docs/versions.md)."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from labelloop.errors import Conflict, Damaged, Fenced, NotFound
from labelloop.models.records import find_object, from_bytes, now, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import Json, ProjectKey

Mover = Literal["run", "person", "agreement"]


@dataclass(frozen=True, slots=True)
class Reign:
    """One change of the champion: which version, since when (UTC, ISO 8601), moved under which fence."""

    version: str
    at: str
    fence: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Who made a version champion: a ``run`` whose verdict says why, a ``person``, or how annotators agreed, and why.

    ``run`` stands for what releases moved that noted nothing, too.
    """

    by: Mover = "run"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pointers:
    """``champion.json``: what endpoints serve, what ``/setup`` reports, the newest fence, all champions in order.

    ``pruned`` are versions that can never be either again: their files are gone, or about to go (models/retention.py).
    ``reasons`` are by the fences of the history, of those that no run made champion (fields of Reason).
    """

    champion: str | None = None
    announced: str | None = None
    fence: int = 0
    history: tuple[Reign, ...] = ()
    pruned: tuple[str, ...] = ()
    reasons: Mapping[str, Json] = field(default_factory=dict)

    @property
    def predecessor(self) -> str | None:
        """Name the champion before this one; None for none."""
        return next((one.version for one in reversed(self.history) if one.version != self.champion), None)

    def reason(self, reign: Reign) -> Reason:
        """Say who moved the pointer then; what is damaged counts as not noted."""
        try:
            return Reason(**self.reasons[str(reign.fence)])
        except (KeyError, TypeError):
            return Reason()

    def rollbacks(self) -> list[tuple[str, Reign, str]]:
        """Give, in order, what was rolled back by itself: the version, the reign that followed, and why."""
        pairs = zip(self.history, self.history[1:], strict=False)
        told = [(before.version, reign, self.reason(reign)) for before, reign in pairs]
        return [(before, reign, reason.why) for before, reign, reason in told if reason.by == "agreement"]


_FENCE = re.compile(rb'"fence"\s*:\s*(\d{1,15})\b')


class ChampionPointer:
    """Reads and moves the pointers of one project. Safe to share between threads and processes."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._project = project
        self._path = f"{project}/champion.json"

    def read(self) -> Pointers:
        """Read the pointers; empty ones before the first fence was taken."""
        try:
            return self._parse(self._store.read(self._path).content)
        except NotFound:
            return Pointers()

    def take_fence(self) -> int:
        """Raise the fence by one and give it to the caller alone; from now on every older one is refused."""
        taken = 0

        def change(current: Pointers) -> Pointers:
            nonlocal taken
            taken = current.fence + 1
            return replace(current, fence=taken)

        self._update(change)
        return taken

    def promote(
        self,
        version: str,
        fence: int,
        reason: Reason = Reason(),
        instead: str | None = None,
    ) -> Pointers:
        """Make a version champion, and give the pointers as they are then; raises Fenced. May be repeated.

        Raises Conflict for one that was pruned, and, where ``instead`` names whose place it is to take, unless that is
        champion still.
        """

        def change(current: Pointers) -> Pointers:
            if current.champion == version:
                return current
            if version in current.pruned:
                raise Conflict(f"{version} of {self._project} cannot become champion: its files were pruned")
            if instead not in (None, current.champion):
                raise Conflict(
                    f"{version} of {self._project} does not take the place of {instead}: now {current.champion} is "
                    "champion"
                )
            reasons = {**current.reasons, **({} if reason.by == "run" else {str(fence): asdict(reason)})}
            reigns = (*current.history, Reign(version, now(), fence))
            return replace(current, champion=version, history=reigns, reasons=reasons)

        return self._update(change, fence)

    def inherit(self, before: Pointers) -> Pointers:
        """Go on where another project's pointers stand, with nothing announced and a fence above both. May be repeated.

        Raises Conflict for a champion of its own.
        """

        def change(current: Pointers) -> Pointers:
            if current.champion is not None and current.history[: len(before.history)] != before.history:
                raise Conflict(f"{self._project} has a champion of its own, {current.champion}")
            if current.champion is not None or before.champion is None:
                return current
            fence = max(current.fence, before.fence) + 1
            return Pointers(
                champion=before.champion,
                fence=fence,
                history=before.history,
                pruned=before.pruned,
                reasons=before.reasons,
            )

        return self._update(change)

    def announce(self, version: str, fence: int) -> Pointers:
        """Let ``/setup`` report the champion; raises Fenced, or Conflict for any other version. May be repeated."""

        def change(current: Pointers) -> Pointers:
            if current.champion != version:
                raise Conflict(
                    f"{version} of {self._project} cannot be announced: the champion is {current.champion}. "
                    "Import predictions of the champion and announce that."
                )
            return replace(current, announced=version)

        return self._update(change, fence)

    def prune(self, versions: Collection[str]) -> frozenset[str]:
        """Bar versions from ever being champion again, before their files go, and give those that are barred now.

        What is champion, was it before this one, or is announced is left out: it may have become that a moment ago.
        """
        barred: frozenset[str] = frozenset()

        def change(current: Pointers) -> Pointers:
            nonlocal barred
            barred = frozenset(versions) - {current.champion, current.announced, current.predecessor}
            return replace(current, pruned=(*current.pruned, *sorted(barred - {*current.pruned})))

        self._update(change)
        return barred

    def mend(self, version: str) -> bool:
        """Write damaged pointers anew with ``version`` as champion, and say whether they were damaged.

        Which champions there were before is lost. The new fence is above every one that can have been given out: above
        those the damaged object still shows, and above the seconds since 1970, for one fence a second is never taken.
        """
        found = find_object(self._store, self._path)
        if found is None or not self._is_damaged(found.content):
            return False
        shown = [int(number) for number in _FENCE.findall(found.content)]
        fence = max([int(time.time()), *shown]) + 1
        mended = Pointers(champion=version, fence=fence, history=(Reign(version, now(), fence),))
        self._store.swap(self._path, to_bytes(mended), found.tag)
        return True

    def _update(self, change: Callable[[Pointers], Pointers], fence: int | None = None) -> Pointers:
        """Apply a change to the newest pointers, under ``fence`` unless None; give what the store then holds."""
        changed = Pointers()

        def rewrite(content: bytes | None) -> bytes | None:
            nonlocal changed
            current = Pointers() if content is None else self._parse(content)
            # Fence 0 is what an untouched project stores; nobody was ever given it.
            if fence is not None and (fence < 1 or fence != current.fence):
                raise Fenced(
                    f"fence {fence} of {self._project} is out of date, {current.fence} was given to another worker: "
                    "this run stops here and the newer one goes on"
                )
            changed = change(current)
            return None if changed == current else to_bytes(changed)

        update(self._store, self._path, rewrite)
        return changed

    def _is_damaged(self, content: bytes) -> bool:
        try:
            self._parse(content)
        except Damaged:
            return True
        return False

    def _parse(self, content: bytes) -> Pointers:
        try:
            pointers = from_bytes(Pointers, content, self._path)
            history = tuple(Reign(**entry) for entry in pointers.history)  # type: ignore[arg-type]
        except (Damaged, TypeError) as error:
            raise Damaged(
                f"{self._path} is damaged: restore it from a backup of the store, or choose the champion anew: "
                f"`labelloop versions --project {self._project.shown}` lists the versions, and "
                f"`labelloop rollback --project {self._project.shown} --to VERSION` writes the file"
            ) from error
        reasons = pointers.reasons if isinstance(pointers.reasons, dict) else {}
        return replace(pointers, history=history, pruned=tuple(pointers.pruned), reasons=reasons)
