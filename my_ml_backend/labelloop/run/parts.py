"""What explains a version's figures, part by part: one that cannot be made is left out, and the others are there."""

import logging
from collections.abc import Callable, Mapping

from labelloop.errors import Fenced, LabelLoopError, LeaseLost

_log = logging.getLogger(__name__)


def make_parts(run: str, parts: Mapping[str, Callable[[], None]]) -> None:
    """Make each part of a run's analysis; one that this model or these data cannot have is said in the log.

    Raises LeaseLost or Fenced where another worker has the project.
    """
    for name, part in parts.items():
        try:
            part()
        except (Fenced, LeaseLost):
            raise
        except (LabelLoopError, ValueError) as error:
            _log.warning("run %s: no %s: %s", run, name, error)
        except Exception:  # noqa: BLE001 - border: whatever a network does to a part, the version needs none of them
            _log.warning("run %s: no %s", run, name, exc_info=True)
