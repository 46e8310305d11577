"""Turning a foreign answer into a known one with a JMESPath expression (jmespath.org)."""

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from labelloop.endpoints.answers.shape import describe
from labelloop.endpoints.failures import WrongAnswer
from labelloop.endpoints.reason import one_line
from labelloop.errors import SettingsError


def check_mapping(mapping: str) -> None:
    """Raise SettingsError when an expression is none."""
    try:
        jmespath.compile(mapping)
    except (JMESPathError, ValueError, RecursionError) as error:
        raise SettingsError(f"mapping: {mapping[:100]!r} is no JMESPath expression: {one_line(str(error))}") from None


def mapped(value: Any, mapping: str) -> Any:
    """Evaluate an expression; the library keeps it compiled. Raises SettingsError, WrongAnswer if it finds nothing."""
    check_mapping(mapping)
    try:
        found = jmespath.search(mapping, value)
    except (
        JMESPathError,
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        reason = one_line(str(error)) or type(error).__name__
        raise WrongAnswer(f"the mapping failed on {describe(value)}: {reason}") from None
    if found is None:
        raise WrongAnswer(f"the mapping {mapping[:100]!r} found nothing in {describe(value)}")
    return found
