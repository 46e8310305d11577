"""What the store keeps of a watched version: the predictions it is compared with, and what the looks found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labelloop.errors import Damaged
from labelloop.models.records import read_record, readable, readable_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import Json, ProjectKey
from labelloop.watch.judgement import Judgement, Observed, observed


@dataclass(frozen=True, slots=True)
class _Reference:
    """``watch/<version>/reference.json``: a random sample of what a version predicted at first."""

    predictions: list[Json]


@dataclass(frozen=True, slots=True)
class Looks:
    """``watch/<version>/looks.json``: how often a version was looked at, what the last look found (a Judgement).

    ``since`` is when the first look of an unbroken row of them found a drift (Unix seconds), 0 where the last one did
    not. ``tab`` is the address of the tab of typical tasks. ``asked`` says that a run was asked for, once.
    """

    looks: int = 0
    last: Json = field(default_factory=dict)
    since: float = 0.0
    tab: str = ""
    asked: bool = False

    @property
    def judgement(self) -> Judgement | None:
        """What the last look found; None before the first."""
        return Judgement.parse(self.last) if self.last else None


class Watched:
    """Reads and writes what is kept of one version of a project. Raises StoreError."""

    def __init__(self, store: Store, project: ProjectKey, version: str) -> None:
        self._store = store
        self._reference = f"{project}/watch/{version}/reference.json"
        self._looks = f"{project}/watch/{version}/looks.json"

    def reference(self) -> list[Observed] | None:
        """Read what the version is compared with; None before that is there. Raises Damaged."""
        found = read_record(self._store, self._reference, _Reference)
        try:
            return [observed(one) for one in found.predictions] if found else None
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(
                f"{self._reference} is damaged ({type(error).__name__}: {error}): remove it, and the next predictions "
                "become what the version is compared with"
            ) from error

    def refer(self, predictions: Sequence[Observed]) -> None:
        """Keep what the version is compared with, for good. Raises Conflict where another worker has done so."""
        self._store.create(self._reference, to_bytes(_Reference([one._asdict() for one in predictions])))

    def looks(self) -> Looks:
        """Read what the looks found; what is damaged counts as not there."""
        return readable_record(self._store, self._looks, Looks) or Looks()

    def note(self, change: Callable[[Looks], Looks]) -> None:
        """Keep what a look found."""

        def changed(content: bytes | None) -> bytes:
            before = readable(Looks, content, self._looks) if content else None
            return to_bytes(change(before or Looks()))

        update(self._store, self._looks, changed)
