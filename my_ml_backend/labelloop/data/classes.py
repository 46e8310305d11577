"""Names of classes: which class a label means, and which two are so alike that one of them may be a slip."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from labelloop.types import caseless

Find = Callable[[str], str | None]
"""Gives the name of the class that a label means, None for none."""

_BETWEEN = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
_MOST_PAIRS, _NAMED, _SHOWN = 5, 3, 60


def class_finder(classes: Iterable[str]) -> Find:
    """Make the function that gives the class a label means: the one of its name, else the first that differs in case.

    A label config says more (studio/mapping.py).
    """
    own: dict[str, str] = {}
    alike: dict[str, str] = {}
    for name in classes:
        own[name] = name
        alike.setdefault(caseless(name), name)
    return lambda label: own.get(label, alike.get(caseless(label)))


def twin_names(names: Iterable[str]) -> tuple[str, ...]:
    """Name the pairs of classes that people may have meant to be one, each in a sentence."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        # Normalized anew, for folding can part what was composed.
        alike.setdefault(_BETWEEN.sub(" ", unicodedata.normalize("NFKC", caseless(name))), []).append(name)
    pairs = [found for found in alike.values() if len(found) > 1]
    more = [f"{len(pairs) - _MOST_PAIRS} more pairs of classes are as much alike"] if len(pairs) > _MOST_PAIRS else []
    return (*map(_sentence, pairs[:_MOST_PAIRS]), *more)


def _sentence(names: Sequence[str]) -> str:
    # In ASCII: letters that look the same may be composed otherwise.
    shown = " and ".join(ascii(name[:_SHOWN]) for name in names[:_NAMED])
    return (
        f"{shown} are different classes, although their names differ in no more than letter case, blanks or the way "
        "letters are composed: rename all but one if they mean the same"
    )
