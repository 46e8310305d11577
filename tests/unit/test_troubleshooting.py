"""The page on troubleshooting quotes what LabelLoop says, and names metrics that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "my_ml_backend/labelloop").rglob("*.py")))

SAID = re.sub(r"""["']\s*\n\s*f?["']""", "", SOURCE)
"""The code, with sentences that go on in the next line put together."""


@pytest.mark.parametrize("quote", sorted(set(re.findall(r'"([^"]+)"', PAGE))))
def test_what_it_quotes_is_said(quote: str) -> None:
    parts = [part.strip() for part in quote.split("...") if len(part.strip(" ,.:;()`")) > 3]
    assert parts
    assert [part for part in parts if part not in SAID] == []


def test_the_metrics_that_it_names_are_there() -> None:
    named = {name.removesuffix("_total") for name in re.findall(r"`(labelloop_\w+)`", PAGE)}
    assert named
    spelled = ((name, name.removeprefix("labelloop_")) for name in named)
    assert {name for name, short in spelled if f'"{name}"' not in SOURCE and f'"{short}"' not in SOURCE} == set()
