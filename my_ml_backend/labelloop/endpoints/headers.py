"""Putting request headers together; their names have no case."""

from collections.abc import Mapping


def merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Merge headers; of two that have one name, the later one is sent."""
    named = {name.lower(): (name, text) for part in parts for name, text in part.items()}
    return dict(named.values())
