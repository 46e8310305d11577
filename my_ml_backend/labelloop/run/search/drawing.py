"""The search's plots as SVG: how the best grew trial by trial, and which parameter made how much of a difference."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate

from labelloop.types import Json

_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 30
_BAR = 26
_NAMES = 130


def history(trials: Sequence[Json]) -> str:
    """Draw accuracy by trial, and a line for the best so far; pruned trials as rings. Empty without an accuracy."""
    shown = [one for one in trials if one["accuracy"] is not None and one["state"] in ("finished", "pruned")]
    if not shown:
        return ""
    low, high = _range([one["accuracy"] for one in shown])
    last = max(one["number"] for one in shown) or 1

    def at(number: int, accuracy: float) -> tuple[float, float]:
        across = (_WIDTH - _LEFT - _RIGHT) * number / last
        return _LEFT + across, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - accuracy) / (high - low)

    finished = [one for one in shown if one["state"] == "finished"]
    best = list(accumulate((one["accuracy"] for one in finished), max))
    steps = [at(one["number"], value) for one, value in zip(finished, best, strict=True)]
    dots = [
        f'<circle class="{one["state"]}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(_told(one))}</title></circle>'
        for one in shown
        for x, y in [at(one["number"], one["accuracy"])]
    ]
    return _svg(_HEIGHT, [*_grid(low, high, last), f'<path class="best" d="{_stairs(steps)}"/>', *dots])


def bars(shares: Mapping[str, float]) -> str:
    """Draw importances, shares of 1, as bars. Empty without any."""
    if not shares:
        return ""
    parts = []
    for row, (name, share) in enumerate(shares.items()):
        middle, length = row * _BAR + _BAR * 0.65, (_WIDTH - _NAMES - 60) * share
        parts += [
            f'<text class="name" x="{_NAMES - 8}" y="{middle:.1f}">{escape(name)}</text>',
            f'<rect x="{_NAMES}" y="{row * _BAR + 4}" width="{length:.1f}" height="{_BAR - 8}"/>',
            f'<text x="{_NAMES + length + 6:.1f}" y="{middle:.1f}">{share:.2f}</text>',
        ]
    return _svg(len(shares) * _BAR + 4, parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">' + "".join(parts) + "</svg>"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Give the range of the axis: a little more than that of the values, and never nothing."""
    low, high = min(values), max(values)
    room = max((high - low) * 0.08, 0.01)
    return max(low - room, 0.0), min(high + room, 1.0)


def _grid(low: float, high: float, last: int) -> list[str]:
    parts = []
    for step in range(5):
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * step / 4
        parts += [
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
            f'<text class="name" x="{_LEFT - 8}" y="{y + 4:.1f}">{high - (high - low) * step / 4:.3f}</text>',
        ]
    below = _HEIGHT - 8
    return [
        *parts,
        f'<text x="{_LEFT}" y="{below}">trial 0</text>',
        f'<text class="name" x="{_WIDTH - _RIGHT}" y="{below}">{last}</text>',
    ]


def _stairs(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return ""
    (x, y), *rest = points
    return f"M{x:.1f} {y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest)


def _told(one: Json) -> str:
    return f"trial {one['number']}: {one['accuracy']:.3f}, " + ", ".join(
        f"{name} {value}" for name, value in one["parameters"].items()
    )
