"""The pictures of the trials: scikit-learn's zeros and ones, few and small, which are told apart at once."""

from dataclasses import replace
from pathlib import Path

from chaos.machine import LABELS, MORE
from labelloop.demo.examples import Examples
from labelloop.demo.pictures import digits

_UNLABELED = 20


def zeros_and_ones(folder: Path) -> Examples:
    """Write them to ``folder``: as many as are labeled in both rounds, and some that are only predicted for."""
    folder.mkdir()
    found = digits(folder, seed=1, tasks=600)
    shown = [one for one in found.shown if one.labels[0] in ("0", "1")]
    return replace(found, classes=("0", "1"), shown=tuple(shown[: LABELS + MORE + _UNLABELED]), held_out=())
