"""What explains a version's figures, part by part: one that cannot be made is left out, and the others are there."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from labelloop.errors import Fenced, LabelLoopError, LeaseLost
from labelloop.run.context import Context, read_json

if TYPE_CHECKING:
    from PIL import Image

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


def write_run_events(context: Context, shown: "Mapping[str, Image.Image]" = MappingProxyType({})) -> None:
    """Write TensorBoard's events of a run, with pictures to show; raises StoreError where a stage before is missing."""
    from labelloop.train.tensorboard import write_events

    folder = context.folder
    curves, metrics = read_json(folder.trained, "train")["curves"], read_json(folder.metrics, "evaluate")
    write_events(folder.events, curves, metrics, context.training, shown)
