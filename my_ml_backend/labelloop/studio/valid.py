"""Checks predictions with Label Studio's own checker, the SDK's ``LabelInterface``, before they leave."""

from functools import lru_cache
from typing import Any

from labelloop.errors import LabelConfigError
from labelloop.types import Json

_REMEMBERED = 32
_LONGEST = 300


def check_prediction(label_config: str, prediction: Json) -> None:
    """Raise LabelConfigError when Label Studio would refuse a prediction, and say what did not pass.

    Label Studio's import drops such a prediction without a word (contract, section 2).
    """
    errors = _interface(label_config).validate_prediction(prediction, return_errors=True)
    if errors:
        raise LabelConfigError(
            f"Label Studio would not take this prediction: {str(errors[0])[:_LONGEST]}. Look whether the control tag "
            f"is written as Label Studio's documentation has it"
        )


@lru_cache(maxsize=_REMEMBERED)
def _interface(label_config: str) -> Any:
    """Make the checker of a label config. It is not changed by checking, so threads may share it."""
    # It imports for over a second; what renders nothing does not wait for it.
    from label_studio_sdk._extensions.label_studio_tools.core.utils.exceptions import (
        LabelStudioXMLSyntaxErrorSentryIgnored,
    )
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        return LabelInterface(label_config)
    except (LabelStudioXMLSyntaxErrorSentryIgnored, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabelConfigError(
            f"Label Studio cannot read the label config: {type(error).__name__}: {str(error)[:_LONGEST]}"
        ) from None
