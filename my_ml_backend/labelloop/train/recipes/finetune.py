"""``finetune``: the whole network, from the head's solution or from random weights, on all GPUs there are."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from labelloop.train import balance
from labelloop.train.augmentations.policy import Augmentation, load_policy
from labelloop.train.backbone import classifier
from labelloop.train.checkpoints import SUFFIX
from labelloop.train.dataset import Dataset, indicators
from labelloop.train.finetuning.job import Job, Outcome
from labelloop.train.loading import Draw
from labelloop.train.pixels import Packed, packed
from labelloop.train.recipes import head
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.recipes.finetune_plan import FinetunePlan, epochs, plan
from labelloop.train.selection import ENOUGH
from labelloop.types import unwatched

_TRIAL = 4  # a trial of a way to balance takes one in so many epochs


def fit(
    material: Material, before: Candidate | None, *, ranks: int | None = None, workers: int | None = None
) -> Candidate:
    """Train every layer; with weights that were learned before, gently, from the solution of ``before`` or a head's.

    ``ranks`` is on how many devices (None: all GPUs, or the CPU), ``workers`` how many processes prepare each one's
    pictures (None: as many as the machine has room for). Raises TrainingError.
    """
    if material.fresh:
        before = None
    elif before is None:
        before = head.fit(material, None)
    suspects = {} if before is None else before.suspects
    sides = material.dataset
    material = replace(material, dataset=replace(sides, train=sides.without(suspects).train))
    mirrors = before is not None and (before.flips or before.mirrors)
    policy = load_policy(material.settings.augmentations, mirrors=mirrors)
    planned = plan(material, ranks or max(1, torch.cuda.device_count()))
    with packed((*material.dataset.train, *material.dataset.validation), material.pixels, material.cache_dir) as pixels:
        candidate = _Finetune(material, before, planned, policy, pixels, workers, mirrors=mirrors).candidate()
    return replace(candidate, suspects=suspects)


class _Finetune:
    """Puts together what one finetune needs, and what came of it."""

    def __init__(
        self,
        material: Material,
        before: Candidate | None,
        planned: FinetunePlan,
        policy: Augmentation,
        pixels: Packed,
        workers: int | None,
        *,
        mirrors: bool,
    ) -> None:
        self._material, self._before, self._plan = material, before, planned
        self._policy, self._pixels, self._workers, self._mirrors = policy, pixels, workers, mirrors
        classes = len(material.dataset.classes)
        self._shown = indicators(material.dataset.train, classes)
        self._validation = indicators(material.dataset.validation, classes)

    def candidate(self) -> Candidate:
        chosen = self._balance()
        job = self._job(chosen, self._plan)
        if self._material.checkpoints is not None:
            facts = (self._material.settings.fingerprint(), job.plan, chosen, job.flips, job.mirrors)
            path = _checkpoint_file(self._material.checkpoints, self._start(), self._material.dataset, facts)
            job = replace(job, checkpoint=path)
        outcome = self._run(job)
        model = self._material.network()
        model.load_state_dict(outcome.state)
        return Candidate(
            "finetune",
            model.eval(),
            outcome.logits,
            flips=job.flips,
            balance=chosen,
            policy=self._policy.name,
            mirrors=job.mirrors,
            curve=outcome.curve,
            notes=tuple(self._notes()),
            before=self._before,
        )

    def _start(self) -> nn.Module:
        """Give the network to begin with: the head's solution is one with its last layer."""
        model = self._material.network()
        if self._before is not None:
            classifier(model).load_state_dict(classifier(self._before.model).state_dict())
        return model

    def _job(self, chosen: str, planned: FinetunePlan) -> Job:
        material, before = self._material, self._before
        answers = balance.class_weights(self._shown, material.dataset.choice)
        return Job(
            settings=material.settings,
            choice=material.dataset.choice,
            spec=material.pixels.spec,
            plan=planned,
            fresh=material.fresh,
            flips=before is not None and before.flips,
            mirrors=self._mirrors,
            packed=self._pixels,
            draw=Draw(len(self._shown), material.settings.seed, answers.mean(axis=1) if chosen == "sampler" else None),
            policy=self._policy,
            truth=self._shown.astype(np.float32),
            weights=(answers if chosen == "loss" else np.ones_like(answers)).astype(np.float32),
            validation=self._validation,
        )

    def _run(self, job: Job, *, trial: bool = False) -> Outcome:
        from labelloop.train.finetuning.ranks import run_ranks  # Lightning takes seconds to import
        from labelloop.train.finetuning.running import run_rank

        watch = unwatched if trial else self._material.watch
        if job.plan.ranks > 1:
            return run_ranks(job, self._start(), self._material.progress, watch, self._workers)
        return run_rank(job, self._start(), self._material.progress, watch, workers=self._workers)

    def _balance(self) -> str:
        """Take the way that the settings name, or the head's; without a head two short trainings decide on validation.

        Fewer than 50 validation pictures decide nothing: answers then count the same.
        """
        asked = self._material.settings.balance
        if asked != "auto":
            return asked
        if self._before is not None:
            return self._before.balance
        if len(self._validation) < ENOUGH or not balance.imbalanced(self._shown):
            return "none"
        short = replace(self._plan, epochs=max(1, self._plan.epochs // _TRIAL))
        plain, balanced = (
            self._run(self._job(way, short), trial=True).logits.astype(np.float64) for way in ("none", "loss")
        )
        return "loss" if balance.worth_it(self._validation, plain, balanced, self._material.dataset.choice) else "none"

    def _notes(self) -> list[str]:
        asked, planned = epochs(self._material), self._plan.epochs
        if planned == asked:
            return []
        return [f"finetune takes {planned} epochs instead of {asked}: about eight minutes of this CPU"]


def _checkpoint_file(folder: Path, model: nn.Module, dataset: Dataset, facts: Iterable[object]) -> Path:
    """Name the checkpoint by all that decides a training: first weights, pictures and classes, and ``facts``."""
    digest = hashlib.sha256(repr((torch.__version__, dataset.classes, dataset.choice, *facts)).encode())
    for side in (dataset.train, dataset.validation):
        digest.update(repr([(sample.picture, sample.targets) for sample in side]).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return folder / f"finetune-{digest.hexdigest()[:32]}{SUFFIX}"
