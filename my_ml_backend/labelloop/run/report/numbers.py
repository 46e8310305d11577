"""Numbers as the report writes them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from labelloop.train.intervals import FEW
from labelloop.types import Json

NO_INTERVAL = "too few to say"
"""In place of an interval where every bootstrap draw gives the same."""


def is_few(items: Any) -> bool:
    """Whether so many pictures are too few to judge by; not where their number is unknown."""
    return items is not None and items < FEW


def fraction(value: Any, digits: int = 3) -> str:
    """Write a share or score; a dash where nothing was measured."""
    return "–" if value is None else f"{float(value):.{digits}f}"  # noqa: RUF001 - a dash


def percent(value: Any) -> str:
    """Write a share in percent."""
    return "–" if value is None else f"{100 * float(value):.1f} %"  # noqa: RUF001 - a dash


def points(value: Any) -> str:
    """Write a difference of shares in points, with its sign."""
    return "–" if value is None else f"{100 * float(value):+.1f}"  # noqa: RUF001 - a dash


def interval(value: Any, digits: int = 3) -> str:
    """Write the interval of ``{"value", "low", "high"}``; empty where there is none, or one without a width."""
    if not value or value.get("low") is None or value.get("high") is None or not value["low"] < value["high"]:
        return ""
    return f"{value['low']:.{digits}f} to {value['high']:.{digits}f}"


def duration(seconds: float) -> str:
    """Write a duration as one would say it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def timestamp(text: str) -> str:
    """Write an ISO timestamp to the minute; what is none stays as it is."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text


def size(count: float) -> str:
    """Write a number of bytes."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def importance_rows(importances: Mapping[str, float]) -> list[Json]:
    """Give each parameter's share of the differences between a search's trials, as the pages draw it."""
    return [{"name": name, "share": percent(value), "heat": round(value, 3)} for name, value in importances.items()]
