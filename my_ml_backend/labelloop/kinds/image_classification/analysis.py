"""The second half of evaluate: what explains a model's figures. Nobody's next step waits for it."""

import logging
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from labelloop.errors import Fenced, LabelLoopError, LeaseLost
from labelloop.kinds.image_classification.events import write_tensorboard
from labelloop.kinds.image_classification.label_errors import find_label_errors
from labelloop.kinds.image_classification.material import Analysis
from labelloop.models.bundle import read_bundle_info
from labelloop.run.context import Context, read_json, write_json
from labelloop.run.report.gallery import write_mistakes, write_thumbnails
from labelloop.types import ForeignInfo

_log = logging.getLogger(__name__)

_VARIED = 4
"""Pictures of which the augmentation grid shows variants."""

_ERRORS_SHOWN = 60
"""Probable label errors that the report shows with their pictures."""


def analyse(context: Context) -> None:
    """Write the rest of ``evaluation/`` and TensorBoard's events from the bundle and its predictions.

    A part that this network or these data cannot have is left out and said in the log. Raises StoreError without
    predictions, and LeaseLost or Fenced where another worker has the project. Of a model that lies elsewhere there are
    mistakes to show, and no network for the rest; no more is there where torch is not installed.
    """
    if isinstance(read_bundle_info(context.folder.bundle), ForeignInfo) or find_spec("torch") is None:
        write_mistakes(context.folder, context.manifest.choice, context.pictures.path)
        return
    analysis = Analysis.of(context)
    parts: dict[str, Callable[[Analysis], None]] = {
        "mistakes": _mistakes,
        "robustness": _robustness,
        "explanations": _explanations,
        "label errors": _label_errors,
        "augmentations": _augmentations,
        "TensorBoard": write_tensorboard,
    }
    for name, part in parts.items():
        try:
            part(analysis)
        except (Fenced, LeaseLost):
            raise
        except (LabelLoopError, ValueError) as error:
            _log.warning("run %s: no %s: %s", context.folder.path.name, name, error)
        except Exception:  # noqa: BLE001 - border: whatever a network does to a part, the version needs none of them
            _log.warning("run %s: no %s", context.folder.path.name, name, exc_info=True)


def _mistakes(analysis: Analysis) -> None:
    context = analysis.context
    write_mistakes(context.folder, context.manifest.choice, context.pictures.path)


def _robustness(analysis: Analysis) -> None:
    from labelloop.train.robustness import robustness

    context = analysis.context
    found = robustness(
        context.folder.bundle,
        analysis.samples,
        analysis.pixels,
        context.progress,
        context.settings.seed,
        network=analysis.network,
    )
    write_json(context.folder.evaluation / "robustness.json", found)


def _explanations(analysis: Analysis) -> None:
    from labelloop.train.explain import explain

    context = analysis.context
    folder = context.folder.evaluation
    scores = np.nan_to_num(analysis.scores)
    found = explain(
        context.folder.bundle,
        analysis.samples,
        scores,
        analysis.pixels,
        folder / "explanations",
        context.progress,
        network=analysis.network,
    )
    write_json(folder / "explanations.json", found)


def _label_errors(analysis: Analysis) -> None:
    context = analysis.context
    found = find_label_errors(context)
    write_json(context.folder.evaluation / "label_errors.json", found)
    write_thumbnails(context.folder, (one["picture"] for one in found["errors"][:_ERRORS_SHOWN]), context.pictures.path)


def _augmentations(analysis: Analysis) -> None:
    from labelloop.train.augmentations.grid import policy_grid
    from labelloop.train.augmentations.policy import AUTO, load_policy

    context = analysis.context
    used, asked = read_json(context.folder.trained, "train")["policy"], context.settings.augmentations
    if not used:
        return
    shown = [analysis.pixels.one(sample) for sample in analysis.learned[:_VARIED]]
    sheet = policy_grid(load_policy(used if asked == AUTO else asked), shown)
    sheet.save(context.folder.evaluation / "augmentations.png")
