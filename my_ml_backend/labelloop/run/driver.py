"""The run: source > prepare > train > measure > judge > publish > report, whoever asks for it.

Each stage is made once, and again only when what it was made from has changed, or what it wrote is gone.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from labelloop.bundle_info import SHARED, ForeignInfo
from labelloop.errors import BundleError, RunOccupied, SettingsError, StoreError
from labelloop.files import file_lock
from labelloop.kinds.base import SCORED_BY, find
from labelloop.models.archive import write_archive
from labelloop.models.bundle import check_bundle, read_bundle_info, served_by
from labelloop.models.champion import ChampionPointer
from labelloop.models.features import Features, feature_folder
from labelloop.models.opening import open_store
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.run.champion_network import ChampionNetwork
from labelloop.run.context import Arms, Context, FeatureSource, Render, digest_of, read_json, write_json
from labelloop.run.folder import JUDGE, STAGES, RunFolder
from labelloop.run.mlflow import track
from labelloop.run.parameters import parameters_of, recorded, with_parameters
from labelloop.run.preprocess import preprocess
from labelloop.run.record import RunInfo, command, peak_memory
from labelloop.run.registrar import Registrar
from labelloop.run.report.html import write_report
from labelloop.run.source import Opener, Source, check_locations, read_locations
from labelloop.settings import Settings
from labelloop.sources.reader import Reader
from labelloop.trainers.base import Trainer, run_trainer
from labelloop.trainers.foreign import learner
from labelloop.trainers.opening import open_trainer
from labelloop.training_parameters import LOCATIONS, READING
from labelloop.types import IMAGES, Json


class StageReporter(Protocol):
    """Whom a run tells how far it is."""

    def stage(self, name: str) -> None:
        """Say that a stage begins."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how much of something is done; a total of 0 means that it is unknown."""


class Run:
    """One run folder.

    ``given`` are the parameters of this call; the rest comes from the folder's record, or from the settings when the
    run is new. The labels come from ``source``, by default from the locations among the parameters, which ``opens``
    reads; the version goes to ``registrar``, by default to the project that they name, under a fence of its own.
    ``key`` is that of a run which is named already: its folder is its alone. ``archive`` says whether the bundle is
    packed as SageMaker wants it, too. ``kind`` is what is to be learned, as far as that is known before the labels are.
    ``trainer`` trains it, by default the one of the settings. ``render`` says what answers are for the annotators of
    its project, ``arms`` how they were served its tasks, ``endpoint_features`` what its endpoint gives of them.
    ``challengers`` are recipes that it leaves to a challenger, ``challenger`` says that it is one; ``network`` is the
    champion's, where a last layer is to be learned on it.
    Raises SettingsError for parameters that there are not, that cannot be, or that the run has otherwise.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: Settings,
        given: Mapping[str, str],
        reporter: StageReporter,
        source: Source | None = None,
        registrar: Registrar | None = None,
        key: str = "",
        archive: bool = True,
        kind: str = IMAGES,
        opens: Opener = Reader,
        trainer: Trainer | None = None,
        render: Render | None = None,
        arms: Arms = lambda _: {},
        endpoint_features: FeatureSource | None = None,
        challengers: tuple[str, ...] = (),
        challenger: bool = False,
        network: ChampionNetwork | None = None,
    ) -> None:
        self.folder, self._reporter, self._registrar = folder, reporter, registrar
        self._named, self._archive = key, archive
        self._trainer = trainer or open_trainer(settings)
        self.handle = ""
        """By which its training is known that has been started already."""
        self._info = _info(folder, settings, given, key, learner(find(kind), settings).settings)
        places = {**self._info.parameters, **{name: given[name] for name in LOCATIONS if given.get(name)}}
        self._settings = with_parameters(settings, self._info.parameters)
        self.context = Context(
            folder,
            self._settings,
            reporter,
            kind,
            render,
            self._champion,
            arms,
            features=self._features,
            endpoint_features=endpoint_features,
            challengers=challengers,
            challenger=challenger,
            network=network,
        )
        self._source = source or partial(read_locations, places, self._settings, self.context.pictures, opens)

    def check(self) -> None:
        """Refuse impossible parameters before any work: raises SettingsError or TrainingError.

        Before the first stage, what is to be trained is made once on the way.
        """
        check_locations(self._info.parameters)
        self.context.learner.check_settings(self._settings, thorough=not self._info.stages)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder, made where it is not there, against other processes; a process that dies gives it up.

        Raises RunOccupied when another process has it, StoreError where there can be no such folder, SettingsError
        where its run has other parameters.
        """
        with _locked(self.folder):
            # Anew, for another process may have made a stage in between.
            held = RunInfo.read(self.folder) or self._info
            given = self._info.parameters
            # A run that is named has agreed by its name; where its labels lie may have changed with the store.
            held = replace(held, parameters={**held.parameters, **given}) if self._named else held.agreeing(given)
            self._info = replace(held, command=self._info.command)
            yield

    def make(self, stage: str, *, force: bool = False) -> str:
        """Make one stage unless it is done, and say what came of it; the caller holds the folder ``alone``.

        ``force`` promotes the version whatever the gate says.
        """
        if stage not in (*STAGES, JUDGE):
            raise SettingsError(f"there is no stage {stage!r}; a run has {', '.join(STAGES)}")
        try:
            inputs, done = self._stands(stage)
            if done and stage != "report":
                return "done before"
            self._info.write(self.folder)
            self._reporter.stage(stage)
            begun = time.monotonic()
            told = self._report(analysed=done) if stage == "report" else self._carry_out(stage, force)
            self._note(stage, inputs, time.monotonic() - begun)
        except OSError as error:
            raise _refused(self.folder, stage, error) from error
        return told

    def has(self, stage: str) -> bool:
        """Whether a stage is done, of what it would be made from now, and what it wrote is there."""
        return self._stands(stage)[1]

    def _stands(self, stage: str) -> tuple[str, bool]:
        """Hash what a stage would be made from now, and say whether it has been made from that."""
        inputs = self._inputs(stage)
        made = self._info.stages.get(stage) == inputs
        return inputs, made and is_written(self.folder, stage, archive=self._archive)

    @property
    def key(self) -> str:
        """What names the run: its labels, settings and seed; raises StoreError before it has labels."""
        return self._named or self.context.labeled.key(self.context.training)

    def _carry_out(self, stage: str, force: bool) -> str:
        context = self.context
        match stage:
            case "fetch":
                context.labeled = self._source(self._reporter)
                context.labeled.write(self.folder)
                manifest = context.manifest
                told = f"{len(manifest.items)} labeled {context.kind.item}s, {len(manifest.left_out)} left out"
                return "\n  warning: ".join((told, *context.labeled.warnings))
            case "preprocess":
                preprocess(context)
            case "train":
                trained = run_trainer(self._trainer, context, self.key, self._settings.poll_seconds, self.handle)
                made = trained.pop("stages", {})
                write_json(self.folder.trained, trained)
                self._info = replace(self._info, stages={**self._info.stages, **made})
                if self._archive:
                    write_archive(self.folder.bundle, self.folder.archive)
            case "evaluate":
                context.kind.measure(context)
            case "judge":
                store = self._store()
                judges = self._registrar or Registrar(store, context.manifest.project, 0, trainer=self._trainer)
                return judges.judge(context).sentence
            case _:
                return self._register(force)
        return "done"

    def _register(self, force: bool) -> str:
        project = self.context.manifest.project
        registrar = self._registrar or Registrar.with_fence(self._store(), project, self._trainer)
        key = self._named or registrar.key_of(self.context.labeled, self.context.training)
        return registrar.register(self.context, key, force=force).verdict

    def _report(self, *, analysed: bool) -> str:
        """Explain the bundle's figures, unless that is done, and tell all that is known of the run by now."""
        if not analysed:
            self.context.kind.analyse(self.context)
        page = write_report(self.folder)
        # Whoever has erased some of it meanwhile has taken the right to write it.
        self._reporter("report", 0, 0)
        if version := self._version():
            self._versions().write_report(version, page.read_bytes())
            self.tell()
        return str(page)

    def tell(self) -> None:
        """Keep what TensorBoard shows of the run's version, if it has one, and let MLflow show it where there is one.

        The caller holds the folder ``alone``.
        """
        if version := self._version():
            versions = self._versions()
            versions.write_events(version, self.folder.events)
            if self._settings.mlflow:
                track(self.context, versions.get(version))

    def _version(self) -> str:
        """Name the run's version; empty before it has one."""
        verdict = read_json(self.folder.verdict, "register") if self.folder.verdict.is_file() else {}
        return verdict.get("version") or ""

    def _versions(self) -> Versions:
        return Versions(self._store(), self.context.manifest.project)

    def _champion(self) -> Json | None:
        """Say which version stands, and the name of its model where that lies elsewhere; None where there is none."""
        project = self.context.manifest.project
        version = ChampionPointer(self._store(), project).read().champion
        if version is None:
            return None
        cache = self._settings.directory / "cache" / "bundles"
        info = read_bundle_info(Versions(self._store(), project).fetch_bundle(version, cache, lambda _: ()))
        return {"version": version, "model": info.model if isinstance(info, ForeignInfo) else ""}

    def _features(self, backbone: str, width: int) -> Features:
        """Open the features of the run's project."""
        project = self.context.manifest.project
        return Features(self._store(), project, backbone, width, feature_folder(self._settings))

    def _store(self) -> Store:
        return self._registrar.store if self._registrar else open_store(self._settings.store_address)

    def _inputs(self, stage: str) -> str:
        """Hash all that a stage is made from."""
        folder = self.folder
        if stage == "fetch":
            given = self._info.parameters
            names = [name for name in LOCATIONS if name in given or name not in READING]
            return digest_of(*(f"{name}={given.get(name, '')}" for name in names))
        made_from = {
            "preprocess": (folder.manifest, folder.sides),
            "train": (folder.manifest, folder.sides, folder.data),
            "evaluate": (folder.manifest, folder.sides, *self._measured_by()),
            "judge": (folder.metrics, folder.predictions),
            "register": (folder.metrics, folder.predictions),
            "report": (folder.metrics, folder.predictions),
        }
        return digest_of(self.context.training.fingerprint(), *made_from[stage])

    def _measured_by(self) -> list[str | Path]:
        """Name what the bundle is measured by: its files, a backbone by its hash; nothing where it is half written."""
        bundle = self.folder.bundle
        try:
            info = read_bundle_info(bundle)
        except BundleError:
            return []
        names = [name for name in served_by(SCORED_BY)(info) if name in info.files]
        return [info.files[name] if name in SHARED else bundle / name for name in names]

    def _note(self, stage: str, inputs: str, seconds: float) -> None:
        info = self._info
        self._info = replace(
            info,
            key=self.key,
            manifest=self.context.manifest.hash,
            device=info.device or _device(self.folder),
            peak_memory_bytes=max(info.peak_memory_bytes, peak_memory()),
            seconds={**info.seconds, stage: round(seconds, 3)},
            stages={**info.stages, stage: inputs},
        ).write(self.folder)


def is_written(folder: RunFolder, stage: str, *, archive: bool) -> bool:
    """Whether a stage's files are all there, the bundle undamaged; register's are in the store: it is asked for anew.

    ``archive`` says whether the bundle is packed, too.
    """
    files = {
        "fetch": (folder.manifest, folder.sides),
        "preprocess": (folder.data,),
        "train": (folder.trained, folder.archive) if archive else (folder.trained,),
        "evaluate": (folder.metrics, folder.predictions),
        "report": (folder.report,),
    }
    there = stage in files and all(path.is_file() for path in files[stage])
    return there and (stage != "train" or _is_bundle(folder))


def _is_bundle(folder: RunFolder) -> bool:
    try:
        check_bundle(folder.bundle)
    except BundleError:
        return False
    return True


def _info(folder: RunFolder, settings: Settings, given: Mapping[str, str], key: str, own: Collection[str]) -> RunInfo:
    """Give the folder's record with the parameters of this call, or begin one."""
    parameters = parameters_of(with_parameters(settings, given), own)
    # As a record spells them, so that 0.10 and 0.1 agree.
    spelled = {name: parameters.get(name, recorded(value)) for name, value in given.items() if value != ""}
    found = RunInfo.read(folder) or RunInfo.new(parameters)
    # What names the run has been agreed on; the rest, such as where its weights lie, may change.
    info = replace(found, parameters={**found.parameters, **spelled}) if key else found.agreeing(spelled)
    # A folder that has begun keeps the command: a path in it may be relative to where it was given.
    told = info.command if info.command and info.parameters == found.parameters else ""
    return replace(info, command=told or command(info.parameters, settings))


@contextmanager
def _locked(folder: RunFolder) -> Iterator[None]:
    another = f"another process is at work in {folder.path}: wait for it, or take another folder"
    with ExitStack() as held:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            held.enter_context(file_lock(folder.path / ".lock", 0, occupied=RunOccupied(another)))
        except OSError as error:
            raise StoreError(f"{folder.path} cannot be a run's folder: {error.strerror}. Take another one") from error
        yield


def _device(folder: RunFolder) -> str:
    """Say what trained; empty before the train stage."""
    return str(read_json(folder.trained, "train")["device"]) if folder.trained.is_file() else ""


def _refused(folder: RunFolder, stage: str, error: OSError) -> StoreError:
    place = error.filename or folder.path
    return StoreError(
        f"the {stage} stage cannot read or write {place}: {error.strerror or error}. Check rights and free space, then "
        "call it again: it goes on where it was"
    )
