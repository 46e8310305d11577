"""Charts as coordinates; the template macros draw them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Point = tuple[float, float]

LEFT, TOP, WIDTH, HEIGHT = 46, 12, 320, 170
"""The plot area, in SVG units; the axes' texts lie outside of it."""

_DOT = 2.6
_LARGEST_DOT = 9.0
_MOST_DOTS = 30


@dataclass(frozen=True, slots=True)
class Series:
    """What one line shows: (x, y) in the data's units. ``weights``, where given, decide the size of the dots.

    With ``steps`` a value holds until the next one, and no dots are drawn.
    """

    name: str
    points: Sequence[Point]
    weights: Sequence[float] = ()
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot by itself, of a ``kind`` that the style draws in its own way; ``tells`` says what it stands for."""

    x: float
    y: float
    kind: str
    tells: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line in place: ``points`` as SVG writes them, ``dots`` as (x, y, radius). ``stairs`` is the path of steps."""

    name: str
    points: str
    dots: tuple[tuple[float, float, float], ...]
    stairs: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A line chart; a tick is its place and its text, ``summary`` says the chart in words."""

    title: str
    summary: str
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    x_name: str
    diagonal: bool = False
    weighted: bool = False
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """The values at the edges of the plot area."""

    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        """Place a value across, in SVG units."""
        return round(LEFT + WIDTH * (value - self.left) / (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """Place a value up, in SVG units."""
        return round(TOP + HEIGHT * (1 - (value - self.bottom) / (self.top - self.bottom)), 1)


UNIT = Frame(0, 1, 0, 1)


def line_chart(
    title: str,
    series: Sequence[Series],
    x_name: str,
    frame: Frame | None = None,
    *,
    diagonal: bool = False,
    marks: Sequence[Mark] = (),
) -> Chart | None:
    """Lay out lines in one plot; without ``frame`` the points decide its edges. None where there is nothing to draw."""
    every = [point for one in series for point in one.points] + [(one.x, one.y) for one in marks]
    if not every:
        return None
    frame = frame or _around(every)
    return Chart(
        title,
        "; ".join(_summary(one) for one in series if one.points),
        tuple((frame.x(value), f"{value:.6g}") for value in ticks(frame.left, frame.right)),
        tuple((frame.y(value), f"{value:.6g}") for value in ticks(frame.bottom, frame.top)),
        tuple(_line(one, frame) for one in series),
        x_name,
        diagonal,
        any(one.weights for one in series),
        tuple(replace(one, x=frame.x(one.x), y=frame.y(one.y)) for one in marks),
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Choose round values from ``low`` to ``high``, about ``count`` of them."""
    rough = (high - low) / count
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _line(one: Series, frame: Frame) -> Line:
    places = [(frame.x(x), frame.y(y)) for x, y in one.points]
    if one.steps and places:
        (left, first), *rest = places
        return Line(one.name, "", (), f"M{left} {first}" + "".join(f"H{x}V{y}" for x, y in rest))
    radii = _radii(one)
    dots = tuple((*place, radius) for place, radius in zip(places, radii, strict=True))
    return Line(one.name, " ".join(f"{x},{y}" for x, y in places), dots if len(dots) <= _MOST_DOTS else ())


def _radii(one: Series) -> list[float]:
    """Let a dot's area tell its weight."""
    if not one.weights:
        return [_DOT] * len(one.points)
    most = max(one.weights)
    return [round(max(1.5, _LARGEST_DOT * math.sqrt(weight / most)), 1) for weight in one.weights]


def _around(points: Sequence[Point]) -> Frame:
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    room = (high - low) * 0.08 or max(abs(high) * 0.1, 0.01)
    bottom = max(0.0, low - room) if low >= 0 else low - room
    return Frame(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, bottom, high + room)


def _summary(one: Series) -> str:
    """Say where a line begins and ends, for whoever cannot see it."""
    return f"{one.name} from {one.points[0][1]:.3g} to {one.points[-1][1]:.3g}"
