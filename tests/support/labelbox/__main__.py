"""Labelbox on this machine, with a model run of each model type; see ``support.alone``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.alone import run_alone
from support.labelbox.materials import MODEL_TYPES, model_run_of
from support.labelbox.stand_in import LabelboxStandIn, labelbox_stand_in


@contextmanager
def with_model_runs(folder: Path, port: int) -> Iterator[LabelboxStandIn]:
    """Run the stand-in, not empty."""
    with labelbox_stand_in(folder, port) as labelbox:
        for model_type in MODEL_TYPES:
            model_run_of(labelbox, model_type)
        yield labelbox


if __name__ == "__main__":
    run_alone("labelbox", with_model_runs)
