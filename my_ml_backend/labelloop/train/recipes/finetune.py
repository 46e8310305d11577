"""``finetune``: the whole network, by AdamW and OneCycle, on the GPU where there is one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from labelloop.errors import TrainingError
from labelloop.train import metrics
from labelloop.train.augment import augment
from labelloop.train.average import Average
from labelloop.train.backbone import classifier
from labelloop.train.batches import Batches
from labelloop.train.dataset import Sample, indicators
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.recipes.plan import Plan, device, plan
from labelloop.train.stopping import Best

_SMOOTHING = 0.1
_DECAY = 0.05
_WARM_UP = 0.25
_EVALUATED = 64


def fit(material: Material, before: Candidate | None) -> Candidate:
    """Train every layer; with weights that were learned before, from the solution of ``before`` and gently."""
    model = material.network()
    if before is not None and not material.fresh:
        classifier(model).load_state_dict(classifier(before.model).state_dict())
    best = _Course(material, model.to(device())).run(plan(material))
    return Candidate("finetune", best.model.cpu(), best.logits)


class _Course:
    """One training of one network."""

    def __init__(self, material: Material, model: nn.Module) -> None:
        self._dataset, self._settings = material.dataset, material.settings
        self._fresh, self._progress = material.fresh, material.progress
        self._model = model
        self._average = Average(model, fresh=material.fresh)
        self._batches = Batches(material.pixels, device())
        self._chance = torch.Generator().manual_seed(material.settings.seed)
        self._truth = indicators(material.dataset.validation, len(material.dataset.classes))

    def run(self, planned: Plan) -> Best:
        steps = planned.epochs * planned.steps
        rate = planned.learning_rate
        optimizer = torch.optim.AdamW(_groups(self._model), lr=rate, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=_WARM_UP)
        samples = self._batches.forever(self._dataset.train, planned.batch, self._chance)
        best = Best(planned.epochs)
        for step in range(1, steps + 1):
            loss = self._loss(next(samples))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            self._average.update(self._model)
            self._progress("finetune", step, steps)
            if step % planned.steps == 0 and self._judge(best):
                break
        return best

    def _loss(self, samples: Sequence[Sample]) -> torch.Tensor:
        self._model.train()
        if not self._fresh:
            _hold_statistics(self._model)
        shown = torch.from_numpy(indicators(samples, len(self._dataset.classes))).float().to(device())
        with torch.autocast("cuda", torch.bfloat16, enabled=_mixed()):
            logits = self._model(augment(self._batches.images(samples), self._chance))
        if self._dataset.kind == "multiple":
            smooth = shown * (1 - _SMOOTHING) + _SMOOTHING / 2
            return functional.binary_cross_entropy_with_logits(logits.float(), smooth)
        return functional.cross_entropy(logits.float(), shown, label_smoothing=_SMOOTHING)

    def _judge(self, best: Best) -> bool:
        """Look at the average after an epoch; tell whether to stop."""
        logits = self._logits(self._average.model)
        if not np.isfinite(logits).all() or not _finite(self._average.model):
            raise TrainingError(
                f"finetune of {self._settings.backbone!r} diverged; lower LABELLOOP_LEARNING_RATE "
                f"(now {self._settings.learning_rate:g})"
            )
        loss = metrics.log_loss(self._truth, logits, self._dataset.kind) if len(logits) else None
        return best.note(self._average.model, logits, loss)

    def _logits(self, model: nn.Module) -> npt.NDArray[np.float32]:
        validation = self._dataset.validation
        with torch.inference_mode():
            parts = [
                model(self._batches.images(validation[start : start + _EVALUATED])).cpu().numpy()
                for start in range(0, len(validation), _EVALUATED)
            ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self._dataset.classes)), dtype=np.float32)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Part matrices and kernels from biases and norms, which no decay should pull to zero."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]


def _hold_statistics(model: nn.Module) -> None:
    """Let batch norms use what they saw in pretraining: the statistics of a few small batches are worse."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


def _mixed() -> bool:
    return device().type == "cuda" and torch.cuda.is_bf16_supported()


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
