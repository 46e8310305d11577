"""What a section of the report is."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: ``name`` is its template and anchor, ``tells`` one sentence on what to make of it.

    ``view`` is what the template shows: plain values, numbers already formatted.
    """

    name: str
    title: str
    tells: str
    view: dict[str, Any] = field(default_factory=dict)
