"""How often annotators leave a prediction as it was, by the version that made it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from labelloop.data.site import Example


@dataclass
class Agreement:
    """Annotations that began with a prediction, by its version: how many there are, how many of them kept it.

    Counted anew whenever all annotations are read, so that an edited or deleted one is counted as it is now.
    Tasks were not chosen at random: those that a version was least certain of are annotated first.
    """

    begun: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def add(self, example: Example) -> None:
        """Count the annotations of one task."""
        for one in example.begun:
            self.begun[one.version] += 1
            self.kept[one.version] += one.kept

    def counts(self, version: str) -> tuple[int, int] | None:
        """Give how many annotations began with a version's predictions, and how many kept them; None for none."""
        return (self.begun[version], self.kept[version]) if self.begun[version] else None

    def share(self, version: str) -> float | None:
        """Give the share of a version's predictions that were left as they were; None before there are any."""
        return self.kept[version] / self.begun[version] if self.begun[version] else None

    def to_text(self) -> str:
        """Turn into JSON: ``[begun, kept]`` by version."""
        return json.dumps({version: [count, self.kept[version]] for version, count in self.begun.items()})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``to_text`` wrote; nothing is counted in an empty text."""
        found: dict[str, list[int]] = json.loads(text) if text else {}
        return cls(
            Counter({version: counts[0] for version, counts in found.items()}),
            Counter({version: counts[1] for version, counts in found.items()}),
        )
