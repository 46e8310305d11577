"""How many trials a machine makes at a time, and what each of their processes gets of it."""

import os
from collections.abc import Mapping

from labelloop.environment import environment_of
from labelloop.settings import Settings


def gpus() -> list[str]:
    """Name the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` does."""
    import torch

    if not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]


def environments(settings: Settings, jobs: int, visible: list[str]) -> list[Mapping[str, str]]:
    """Give each process its environment: the settings, one thread for numerics, and one GPU where there are any."""
    common = {**os.environ, **environment_of(settings), "OMP_NUM_THREADS": "1"}
    if not visible:
        return [common] * jobs
    return [{**common, "CUDA_VISIBLE_DEVICES": visible[job % len(visible)]} for job in range(jobs)]
