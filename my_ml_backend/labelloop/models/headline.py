"""The one figure that a version is shown and compared by: its kind's main figure, or else its accuracy."""

from labelloop.types import Json

ACCURACY = "accuracy"

_SURE = 1.959964
"""Standard errors between a value and the ends of its 95 % interval."""


def headline(measured: Json) -> tuple[str, Json]:
    """Give the figure's name and ``{"value", "low", "high"}`` of a ``metrics.json``; an empty one has no values.

    Records of earlier releases, and those of kinds that give classes, name none: it is their accuracy.
    """
    main = measured.get("main")
    if main:
        return str(main["name"]), {end: main.get(end) for end in ("value", "low", "high")}
    return ACCURACY, measured.get(ACCURACY) or dict.fromkeys(("value", "low", "high"))


def weight(measured: Json) -> float:
    """Say how many items that are right or wrong would tell as much as the figure does; 0 where there is none.

    Of a share of items it is their number. Another figure's interval is that of a share of so many.
    """
    name, figure = headline(measured)
    items, value = float(measured.get("items") or 0), figure["value"]
    if value is None:
        return 0.0
    if name == ACCURACY or figure["low"] is None or not 0 < value < 1:
        return items
    error = (figure["high"] - figure["low"]) / (2 * _SURE)
    return float(value * (1 - value) / error**2) if error > 0 else items


def headline_told(measured: Json) -> str:
    """Say the figure with its interval, such as ``accuracy 0.930 (95 % interval 0.902 to 0.951)``."""
    name, figure = headline(measured)
    if figure["value"] is None:
        return f"no {name}"
    bounded = figure["low"] is not None and figure["high"] is not None
    ends = f" (95 % interval {figure['low']:.3f} to {figure['high']:.3f})" if bounded else ""
    return f"{name} {figure['value']:.3f}{ends}"
