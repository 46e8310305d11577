"""Runs stages of one run folder: each once, again only when what it was made from has changed."""

import time
from collections.abc import Mapping
from dataclasses import replace

from labelloop.errors import SettingsError, StoreError
from labelloop.models.runs import run_key
from labelloop.run.alone import alone
from labelloop.run.context import Context, read_json
from labelloop.run.folder import RunFolder
from labelloop.run.packages import peak_memory
from labelloop.run.parameters import LOCATIONS, is_hidden, parameters_of, recorded, with_parameters
from labelloop.run.record import RunInfo, command, digest
from labelloop.run.stages import STAGES
from labelloop.run.stages.evaluate import evaluate
from labelloop.run.stages.fetch import check_source, fetch
from labelloop.run.stages.preprocess import preprocess
from labelloop.run.stages.register import register
from labelloop.run.stages.train import train
from labelloop.run.written import is_written
from labelloop.settings import Settings
from labelloop.types import Progress


class Runner:
    """One run folder, held by this process alone.

    ``given`` are the parameters of this call; the rest comes from the folder's record, or from the settings when the
    run is new. Raises SettingsError for parameters that there are not, that cannot be, or that the run has otherwise.
    """

    def __init__(self, folder: RunFolder, settings: Settings, given: Mapping[str, str], progress: Progress) -> None:
        with_parameters(settings, given)
        found = RunInfo.read(folder)
        if found is None:
            wanted = with_parameters(settings, given)
            places = {name: recorded(given[name]) for name in LOCATIONS if given.get(name)}
            found = RunInfo.new({**parameters_of(wanted), **places})
        info = found.agreeing(_spelled(given, settings))
        # A folder that has begun keeps the command: a path in it may be relative to where it was given.
        told = info.command if info.command and info.parameters == found.parameters else ""
        self._info = replace(info, command=told or command(info.parameters, settings))
        self._places = {name: given[name] for name in LOCATIONS if given.get(name)}
        self._settings, self._progress = with_parameters(settings, self._info.parameters), progress
        self._folder = folder
        self._context = self._opened()

    def check(self) -> None:
        """Refuse impossible parameters before any work: raises SettingsError or TrainingError.

        The network is made once on the way, for only it knows its arguments, weights and sizes; of weights that are yet
        to be downloaded nothing is known.
        """
        from labelloop.train.backbone import build
        from labelloop.train.entrants import check

        check_source(self._info.parameters)
        training = self._context.training
        check(training)
        if not self._info.stages:
            build(replace(training, weights="none") if training.weights == "pretrained" else training, 2)

    def run(self, stage: str, *, force: bool = False) -> str:
        """Run one stage unless it is done; gives a sentence that says what came of it."""
        if stage not in STAGES:
            raise SettingsError(f"there is no stage {stage!r}; a run has {', '.join(STAGES)}")
        with alone(self._folder):
            held = (RunInfo.read(self._folder) or self._info).agreeing(self._info.parameters)
            self._info = replace(held, command=self._info.command)
            # Anew, for another process may have made a stage since the last one.
            self._context = self._opened()
            inputs = self._inputs(stage)
            if self._info.stages.get(stage) == inputs and is_written(self._folder, stage):
                return f"{stage}: done before"
            try:
                self._info.write(self._folder)
                begun = time.monotonic()
                told = self._carry_out(stage, force)
                self._note(stage, inputs, time.monotonic() - begun)
            except OSError as error:
                raise _refused(self._folder, stage, error) from error
            return told

    def _opened(self) -> Context:
        return Context(self._folder, self._settings, self._progress)

    def _carry_out(self, stage: str, force: bool) -> str:
        context = self._context
        if stage == "fetch":
            fetch(context, self._locations())
            return f"fetch: {len(context.manifest.items)} labeled pictures, {len(context.manifest.left_out)} left out"
        if stage == "register":
            return f"register: {register(context, self._key(), force=force)}"
        {"preprocess": preprocess, "train": train, "evaluate": evaluate}[stage](context)
        return f"{stage}: done"

    def _locations(self) -> dict[str, str]:
        """Give what the record hides as it was given to this call."""
        found = {**self._info.parameters, **self._places}
        for name in LOCATIONS:
            if is_hidden(found.get(name, "")):
                raise SettingsError(
                    f"{name} is {found[name]}: user and query of an address are not kept, for they may be secrets. "
                    f"Give --{name.replace('_', '-')} again"
                )
        return found

    def _inputs(self, stage: str) -> str:
        """Hash all that a stage is made from."""
        folder, settings = self._folder, self._context.training.fingerprint() if stage != "fetch" else ""
        if stage == "fetch":
            return digest(*(f"{name}={self._info.parameters.get(name, '')}" for name in LOCATIONS))
        made_from = {
            "preprocess": (folder.manifest, folder.sides),
            "train": (folder.manifest, folder.sides, folder.data),
            "evaluate": (folder.manifest, folder.sides, folder.bundle / "model.onnx"),
            "register": (folder.metrics, folder.predictions),
        }
        return digest(settings, *made_from[stage])

    def _note(self, stage: str, inputs: str, seconds: float) -> None:
        info = self._info
        self._info = replace(
            info,
            key=self._key(),
            manifest=self._context.manifest.hash,
            device=info.device or _device(self._folder),
            peak_memory_bytes=max(info.peak_memory_bytes, peak_memory()),
            seconds={**info.seconds, stage: round(seconds, 3)},
            stages={**info.stages, stage: inputs},
        ).write(self._folder)

    def _key(self) -> str:
        context = self._context
        held = digest(context.manifest.hash, context.folder.sides)
        return run_key(held, context.training.fingerprint(), context.settings.seed)


def _spelled(given: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Spell given parameters as a record does, so that 0.10 and 0.1 agree."""
    spelled = parameters_of(with_parameters(settings, given))
    return {name: spelled.get(name, recorded(value)) for name, value in given.items() if value != ""}


def _device(folder: RunFolder) -> str:
    """Say what trained; empty before the train stage."""
    return str(read_json(folder.trained, "train")["device"]) if folder.trained.is_file() else ""


def _refused(folder: RunFolder, stage: str, error: OSError) -> StoreError:
    place = error.filename or folder.path
    return StoreError(
        f"the {stage} stage cannot read or write {place}: {error.strerror or error}. Check rights and free space, then "
        "call it again: it goes on where it was"
    )
