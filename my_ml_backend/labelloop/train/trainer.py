"""A run's training: the recipes compete on the validation split, and the better one becomes a bundle."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from labelloop.errors import RunCancelled, StoreError, TrainingError
from labelloop.kinds.base import LAST_LAYER
from labelloop.models.features import OpenFeatures
from labelloop.train import int8_backbone
from labelloop.train.backbone import build, for_features, picture_spec
from labelloop.train.bundle import write_bundle
from labelloop.train.calibration import temperature_effect
from labelloop.train.contest import RECIPES, check, entrants, too_few, too_slow, with_temperature
from labelloop.train.dataset import Dataset, FinetunedNetwork, Trained, in_order, require_contrast
from labelloop.train.label_errors import suspected
from labelloop.train.pixels import PixelCache
from labelloop.train.recipes import head
from labelloop.train.recipes.base import Budget, Candidate, Material
from labelloop.train.recipes.finetune_plan import on_gpu
from labelloop.train.selection import Validation, accuracies, winner
from labelloop.types import Progress, TrainSettings, Watch, unwatched

logger = logging.getLogger(__name__)


def train(
    dataset: Dataset,
    settings: TrainSettings,
    workdir: Path,
    cache_dir: Path,
    progress: Progress,
    watch: Watch = unwatched,
    checkpoints: Path | None = None,
    budget: Budget = Budget(),  # noqa: B008 - frozen
    opens: OpenFeatures | None = None,
    challengers: Sequence[str] = (),
    network: FinetunedNetwork | None = None,
) -> Trained:
    """Train on ``dataset`` and write the best model's bundle below ``workdir``.

    The same data, settings and machine give the same model. ``cache_dir`` holds what runs share: pixels, features,
    exported backbones; it may be wiped between runs. ``watch`` is told of every epoch, ``checkpoints`` is where a
    training that was killed goes on, ``budget`` what a finetune may cost. ``opens`` opens the features of a project;
    without it they are kept in ``cache_dir``. Of ``challengers``, recipes that are trained after it, it is said whether
    they can win. Beside a head, a last layer is learned on a finetune's ``network``, where there is one. Raises
    TrainingError, for impossible settings before any work.
    """
    check(settings)
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        run = _Run(dataset, settings, cache_dir, progress, watch, checkpoints, budget, opens, network)
        return replace(run.train(workdir), challengers=run.challengers(challengers))


class _Run:
    def __init__(
        self,
        dataset: Dataset,
        settings: TrainSettings,
        cache_dir: Path,
        progress: Progress,
        watch: Watch,
        checkpoints: Path | None,
        budget: Budget,
        opens: OpenFeatures | None,
        network: FinetunedNetwork | None,
    ) -> None:
        self._settings, self._network = settings, network
        self._seconds: dict[str, float] = {}
        self._notes: list[str] = []
        with self._timed("backbone"):
            wanted = {name: for_features(settings) if name == "head" else settings for name in settings.recipes}
            starts = {one: build(one, len(dataset.classes)) for one in set(wanted.values())}
            if network is not None:
                last = replace(settings, weights=str(network.weights))
                with self._or_without():
                    starts[last] = build(last, len(dataset.classes))
                    wanted[LAST_LAYER] = last
        pixels = {one: PixelCache(picture_spec(start, one.image_size), cache_dir) for one, start in starts.items()}
        with self._timed("pictures"):
            samples = (*dataset.train, *dataset.validation)
            checked = [cache.check(samples, len(samples), progress) for cache in pixels.values()]
            self._left_out = {picture: reason for unreadable in checked for picture, reason in unreadable.items()}
        self._dataset = self._readable(dataset)
        self._materials = {
            name: Material(
                self._dataset, one, starts[one], pixels[one], cache_dir, progress, watch, checkpoints, budget, opens
            )
            for name, one in wanted.items()
        }

    def train(self, workdir: Path) -> Trained:
        candidates, dataset = self._candidates(), self._dataset
        validation = Validation.of(dataset)
        best = winner(candidates, validation)
        material = self._materials[best.recipe]
        if best.recipe == "head":
            best = replace(best, int8=int8_backbone.compared(best, material))
            with self._timed("refit"):
                best = head.refit(material, best)
        material.progress("export", 0, 1)
        with self._timed("export"):
            info = write_bundle(best, material, workdir / "bundle")
        material.progress("export", 1, 1)
        return Trained(
            bundle=workdir / "bundle",
            recipe=best.recipe,
            validation=accuracies(candidates, validation),
            seconds=self._seconds,
            left_out=self._left_out,
            notes=tuple(self._notes),
            curves={one.recipe: one.curve for one in candidates if one.curve},
            flips=best.flips,
            balance=best.balance,
            policy=next((one.policy for one in candidates if one.policy), ""),
            temperature=best.temperature,
            calibration=temperature_effect(validation.held(best), dataset.choice, best.temperature),
            network=self._network.version if self._network and best.recipe == LAST_LAYER else "",
            device="cuda" if best.recipe == "finetune" and on_gpu() else "cpu",
            suspects=suspected(best.suspects, dataset.targets, dataset.classes),
            int8=info.int8,
        )

    def challengers(self, names: Sequence[str]) -> dict[str, str]:
        """Say of recipes why they cannot win beside the head (empty: they can)."""
        few = too_few(len(self._dataset.validation))
        return {name: few or too_slow(self._finetunes()) for name in names}

    def _finetunes(self) -> Material:
        """Give what a finetune beside the head would be given: without learned weights that is another network."""
        material, settings = self._materials["head"], self._settings
        if material.settings == settings:
            return material
        start = build(settings, len(self._dataset.classes))
        pixels = PixelCache(picture_spec(start, settings.image_size), material.cache_dir)
        return replace(material, settings=settings, start=start, pixels=pixels)

    def _candidates(self) -> list[Candidate]:
        """Train every entrant, each from what the one before it found; temperatures come when all have ended."""
        names, reason = entrants(self._materials)
        if reason:
            self._note(reason)
        found: list[Candidate] = []
        for name in names:
            with self._timed(name):
                found.append(RECIPES[name](self._materials[name], found[-1] if found else None))
        if self._network is not None:
            with self._timed(LAST_LAYER), self._or_without():
                found.append(head.fit_last_layer(self._materials[LAST_LAYER], self._network, found[0]))
        for sentence in (note for one in found for note in one.notes):
            self._note(sentence)
        return [with_temperature(one, self._dataset) for one in found]

    def _readable(self, dataset: Dataset) -> Dataset:
        for picture, reason in list(self._left_out.items())[:1]:
            lost = len(self._left_out)
            logger.warning("%d unreadable pictures are left out of training, such as %s: %s", lost, picture, reason)
        train, validation = (
            tuple(sample for sample in side if sample.picture not in self._left_out)
            for side in (dataset.train, dataset.validation)
        )
        readable = in_order(replace(dataset, train=train, validation=validation))
        require_contrast(readable, len(self._left_out))
        return readable

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Leave a last layer out that cannot be made: there is the head."""
        try:
            yield
        except RunCancelled:
            raise
        except (TrainingError, StoreError) as error:
            self._network = None
            self._note(f"{LAST_LAYER} is left out: {error}")

    def _note(self, sentence: str) -> None:
        logger.info(sentence)
        self._notes.append(sentence)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._seconds[stage] = round(time.monotonic() - begun, 3)
