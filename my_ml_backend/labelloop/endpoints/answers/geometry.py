"""From an endpoint's coordinates to fractions of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from labelloop.endpoints.answers.format import Asked, Malformed, number, whole
from labelloop.errors import MediaError
from labelloop.pictures import upright_size
from labelloop.types import Box, Point

BEYOND = 0.5
"""How far outside the picture, in its own size, a coordinate may be: models guess at what the border cuts off."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scale:
    """What one unit of an answer's coordinates is, in fractions of the picture."""

    x: float
    y: float

    def point(self, x: Any, y: Any) -> Point:
        """Read a point, moved into the picture. Raises Malformed when it is far outside."""
        return Point(_inside(number("x", x) * self.x), _inside(number("y", y) * self.y))

    def corners(self, corners: Any) -> Box | None:
        """Read ``[x0, y0, x1, y1]``, cut to the picture; None when nothing is left. Raises Malformed."""
        x0, y0, x1, y1 = numbers(corners, 4)
        if x1 < x0 or y1 < y0:
            raise Malformed("a box ends before it begins: its numbers are in another order")
        left, top = _inside(x0 * self.x), _inside(y0 * self.y)
        width, height = _inside(x1 * self.x) - left, _inside(y1 * self.y) - top
        return Box(left, top, width, height) if width > 0 and height > 0 else None

    def box(self, box: Any, rotation: float = 0.0) -> Box | None:
        """Read ``[x, y, width, height]``, cut to the picture if it is not rotated. Raises Malformed."""
        x, y, width, height = numbers(box, 4)
        if not rotation:
            return self.corners([x, y, x + width, y + height])
        place, size = self.point(x, y), self.point(width, height)
        return Box(place.x, place.y, size.x, size.y, rotation) if size.x > 0 and size.y > 0 else None


Order = Literal["corners", "row first", "box", "center"]
"""What four numbers are: x0, y0, x1, y1; y0, x0, y1, x1; x, y of the upper left corner, or the middle, and the size."""

Unit = Literal["pixels", "fractions"]

FRACTIONS = Scale(1.0, 1.0)
PERCENT = Scale(0.01, 0.01)


def numbers(values: Any, count: int) -> Sequence[float]:
    """Read ``count`` finite numbers; raises Malformed."""
    if not isinstance(values, list) or len(values) != count:
        raise Malformed(f"a place is not a list of {count} numbers")
    return [number("a coordinate", value) for value in values]


def size_of(item: Any, one: Asked) -> Size | None:
    """Width and height of the picture: as the answer says, else of what was sent; None when neither tells."""
    if isinstance(item, dict) and isinstance(item.get("image"), dict) and "width" not in item:
        return size_of(item["image"], one)
    if isinstance(item, dict) and item.get("width") is not None and item.get("height") is not None:
        size = whole("width", item["width"]), whole("height", item["height"])
        if min(size) <= 0:
            raise Malformed('"width" and "height" are not those of a picture')
        return size
    if not one.input.content:
        return None
    try:
        return upright_size(one.input.content)
    except MediaError:
        return None


def pixels(size: Size | None) -> Scale:
    """Count in pixels of a picture; raises Malformed when its size is not known."""
    if size is None:
        raise Malformed(
            'its coordinates are pixels, and the size of the picture is not known: let it answer "width" and "height" '
            "too, or send the picture instead of its address"
        )
    return Scale(1 / size[0], 1 / size[1])


def as_corners(place: Any, order: Order) -> list[float]:
    """Read four numbers as ``[x0, y0, x1, y1]``; raises Malformed."""
    first, second, third, fourth = numbers(place, 4)
    match order:
        case "corners":
            return [first, second, third, fourth]
        case "row first":
            return [second, first, fourth, third]
        case "box":
            return [first, second, first + third, second + fourth]
        case "center":
            return [first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2]


def boxes_of(places: Sequence[Sequence[float]], unit: Unit, size: Size | None) -> list[Box | None]:
    """Make boxes of corners, each cut to the picture, None for what lies outside. Raises Malformed.

    What counts pixels, and stays within the first of them, is in other units: there is nothing that small to see. A
    fraction may lie a little beyond 1, as models guess at what the border cuts off.
    """
    if not places:
        return []
    if unit == "fractions":
        return [FRACTIONS.corners(place) for place in places]
    scale = pixels(size)
    farthest = max(abs(value) for place in places for value in place)
    if size is not None and 0 < farthest <= (1 if max(size) <= 10 else 1 + BEYOND) and max(size) > 2:
        where = "within the first one" if farthest <= 1 else "hardly beyond the first one"
        raise Malformed(
            f"its boxes should be in pixels, and all of them lie {where}: are they fractions? A mapping to "
            '{"regions": [...]}, in fractions where it names no "unit", says so'
        )
    return [scale.corners(place) for place in places]


def _inside(value: float) -> float:
    if not -BEYOND <= value <= 1 + BEYOND:
        raise Malformed(f"a coordinate is far outside the picture ({value:.4g} of its size): is it in other units?")
    return min(1.0, max(0.0, value))
