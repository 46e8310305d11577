"""From bytes to JSON, strictly."""

import json
from typing import Any

from labelloop.endpoints.failures import WrongAnswer


def parse(content: bytes) -> Any:
    """Read JSON without NaN and Infinity; raises WrongAnswer."""
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise WrongAnswer(f"its {len(content)} bytes are not valid JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
