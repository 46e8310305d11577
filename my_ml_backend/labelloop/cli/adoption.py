"""``labelloop adopt``: a model that a team has already becomes a version of a project."""

import math
import sys
import tempfile
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from labelloop.cli.projects import project_option
from labelloop.cli.terminal import Bar, follow, json_option, show
from labelloop.data.labeling import Labeling
from labelloop.data.split import tally
from labelloop.errors import SettingsError
from labelloop.loop.attempts import project_settings
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.project_endpoint import learn_unknown, require_learning
from labelloop.loop.project_labels import keep_manifest, labeling_of, read_labels, unread
from labelloop.loop.project_registry import confirmed_project, existing_project
from labelloop.loop.queue import job_result
from labelloop.models.bundle import read_bundle_info
from labelloop.models.runs import RunRecord
from labelloop.models.takeover import plan_takeover, take_over
from labelloop.run.context import Context, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.registrar import Registrar
from labelloop.setting_values import names
from labelloop.trainers.opening import open_trainer
from labelloop.types import IMAGES, Json, ProjectKey


class _Triple(click.ParamType[Any]):
    """Three numbers, one a colour: red, green, blue."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read ``0.5,0.5,0.5``."""
        try:
            red, green, blue = (float(part) for part in str(value).split(","))
        except ValueError:
            red = green = blue = math.nan
        least = 0.0 if param is not None and param.name == "std" else -math.inf
        if not all(math.isfinite(colour) and colour > least for colour in (red, green, blue)):
            above = " above 0" if least == 0 else ""
            self.fail(f"{value!r} are not three numbers{above}: expected for example 0.485,0.456,0.406", param, ctx)
        return red, green, blue


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@project_option
@click.option("--classes", help="The model's classes in the order of its outputs, separated by commas.")
@click.option("--backbone", default="", help="The timm network that a safetensors file holds the weights of.")
@click.option("--choice", type=click.Choice(["single", "multiple"]), help="Default: what the label config asks.")
@click.option("--image-size", type=click.IntRange(1), help="Pixels a side; default: the model's own.")
@click.option("--mean", type=_Triple(), help="Subtracted from colours in [0, 1]; default: ImageNet's, or timm's.")
@click.option("--std", type=_Triple(), help="Colours are divided by it; default: ImageNet's, or timm's.")
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]), help="Default: bicubic, or timm's.")
@click.option(
    "--outputs",
    type=click.Choice(["auto", "logits", "probabilities"]),
    default="auto",
    show_default=True,
    help="What an ONNX file gives.",
)
@click.option("--force", is_flag=True, help="Promote it whatever the gate says; recorded as forced.")
@click.option("--wait/--no-wait", default=True, help="Follow its pre-annotation and announcement to the end.")
@json_option
@click.pass_obj
def adopt(
    hub: Hub, /, model: Path, project_id: int, classes: str | None, force: bool, wait: bool, as_json: bool, **asked: Any
) -> None:
    """Make MODEL a version of a project: an ONNX file, a timm checkpoint (safetensors), or an exported folder."""
    project, _ = confirmed_project(hub, project_id)
    learn_unknown(hub, project)
    require_learning(hub, project)
    labeling = labeling_of(hub, project)
    if labeling.kind != IMAGES:
        raise SettingsError(f"project {project_id} learns {labeling.kind}: only image classification is adopted")
    given = _classes(model, classes, labeling)
    asked["choice"] = _choice(asked["choice"], labeling)
    asked["image_size"] = asked["image_size"] or 0
    with (
        Lease(hub, project) as lease,
        Bar(sys.stderr.isatty() and not as_json) as bar,
        tempfile.TemporaryDirectory(prefix="labelloop-adopt-") as folder,
    ):
        told = _Told(ProgressReporter(hub, project, lease), bar)
        try:
            record, notes = _Adoption(hub, project, labeling, told, Path(folder)).make(model, given, asked, force=force)
        finally:
            told.reporter.close()
    if missing := [name for name in labeling.classes if name not in given]:
        notes.append(f"the label config has classes that it does not know, and never says: {', '.join(missing)}")
    lines = [f"{record.version} of project {project_id}: {record.verdict}", *(f"  {note}" for note in notes)]
    pointers = hub.pointer(project).read()
    job = hub.queue(project).deploy() if record.version == pointers.champion != pointers.announced else None
    state = "promoted" if record.state == "promoted" else "kept"
    told_of = {"version": record.version, "state": state, "verdict": record.verdict, "notes": notes, "job": job}
    # Before it is followed: the version stands, whatever becomes of its announcement.
    show(as_json, told_of, lines)
    if job is not None and wait:
        ended = follow(hub, project, job, quiet=as_json)
        result = job_result(hub.redis, job) if ended == "finished" else ""
        click.echo(f"announcement of {record.version}: {': '.join(filter(None, (ended, result)))}", err=as_json)
        if ended != "finished":
            sys.exit(1)


def _classes(model: Path, text: str | None, labeling: Labeling) -> tuple[str, ...]:
    """Give the model's classes, each of them one of the label config's; raises SettingsError."""
    if text is None and model.is_dir():
        given = read_bundle_info(model).classes
    elif text is None:
        raise SettingsError("name the model's classes in the order of its outputs: --classes a,b,c")
    else:
        given = names(text)
    twice = sorted({name for name in given if given.count(name) > 1})
    if not given or twice:
        named = f" ({_listed(twice)} comes twice)" if twice else ""
        raise SettingsError(f"--classes {text}: name each class once{named}, in the order of the model's outputs")
    if unknown := [name for name in given if name not in labeling.classes]:
        raise SettingsError(
            f"the model's classes {_listed(unknown)} are not in the label config, which has "
            f"{_listed(labeling.classes)}; the model has {_listed(given)}. Add them to the label config, or name the "
            "classes as it does"
        )
    return given


def _listed(classes: Collection[str]) -> str:
    return ", ".join(classes) or "none"


def _choice(given: str | None, labeling: Labeling) -> str:
    if given not in (None, labeling.choice):
        raise SettingsError(
            f"--choice {given}: the label config of the project asks for {labeling.choice}. Leave out --choice, or "
            "change the label config's choice"
        )
    return labeling.choice


class _Told:
    """Tells of progress both here and to whoever asks for the project's status."""

    def __init__(self, reporter: ProgressReporter, bar: Bar) -> None:
        self.reporter, self._bar = reporter, bar

    def stage(self, name: str) -> None:
        """Begin a stage."""
        self.reporter.stage(name)
        self._bar.stage(name)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report within a stage."""
        self.reporter(what, done, total)
        self._bar(what, done, total)


class _Adoption:
    """One adoption, in a folder of its own; the caller holds the project's lease."""

    def __init__(self, hub: Hub, project: ProjectKey, labeling: Labeling, told: _Told, folder: Path) -> None:
        self._hub, self._project, self._labeling, self._told = hub, project, labeling, told
        self._work, self._folder = folder / "work", RunFolder(folder / "run")

    def make(self, model: Path, classes: tuple[str, ...], asked: Json, *, force: bool) -> tuple[RunRecord, list[str]]:
        """Make the bundle, measure it on the project's labels and publish it, unless that is done."""
        from labelloop.train.adopt import ModelFacts
        from labelloop.train.adopt import adopt as make_bundle

        self._told.stage("export")
        for one in (self._work, self._folder.bundle):
            one.mkdir(parents=True)
        made = make_bundle(model, ModelFacts(classes=classes, **asked), self._folder.bundle, self._work, self._told)
        done = self._hub.runs(self._project).find(made.key)
        if done is not None and not force:
            return done, [*made.notes, f"it was adopted before, as {done.version}: nothing changes"]
        fence = self._hub.pointer(self._project).take_fence()
        context, notes = self._measured()
        facts = {"recipe": made.info.recipe, "validation": {}, "seconds": {}, "left_out": {}, "calibration": {}}
        write_json(self._folder.trained, {**facts, "notes": list(made.notes), "device": "cpu"})
        trainer = open_trainer(project_settings(self._hub, self._project))
        registrar = Registrar(
            self._hub.store, self._project, fence, self._labeling.rename, self._told.stage, trainer=trainer
        )
        return registrar.register(context, made.key, force=force, adopted=made.origin), [*made.notes, *notes]

    def _measured(self) -> tuple[Context, list[str]]:
        """Read the labels there are, and measure the bundle on the test side of them, if it has any."""
        self._told.stage("fetch")
        labeled = read_labels(self._hub, self._project, self._labeling, self._told)
        labeled.write(self._folder)
        keep_manifest(self._hub, self._project, labeled.manifest)
        context = Context(self._folder, self._hub.settings, self._told)
        self._told.stage("evaluate")
        if tally(labeled.manifest, labeled.sides)["test"].items:
            context.kind.measure(context)
        else:
            write_json(self._folder.metrics, {})
        return context, list(filter(None, [unread(labeled)]))


class _Folder(click.ParamType[ProjectKey]):
    """A folder of the store, as ``labelloop status`` names it."""

    name = "folder"

    def convert(self, value: str | ProjectKey, param: click.Parameter | None, ctx: click.Context | None) -> ProjectKey:
        """Read ``instance/id``."""
        try:
            return value if isinstance(value, ProjectKey) else ProjectKey.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@project_option
@click.option("--from", "source", type=_Folder(), required=True, help="The folder to take over: localhost-8080/7.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken over, and leave all as it is.")
@json_option
@click.pass_obj
def move(hub: Hub, project_id: int, source: ProjectKey, dry_run: bool, as_json: bool) -> None:
    """Let a project without versions take over those of another: of an export, or of an address that is gone."""
    target = existing_project(hub, project_id)
    plan = plan_takeover(hub.store, hub.projects, source, target)
    if not dry_run:
        with (
            Lease(hub, target),
            Lease(hub, source),
            Bar(sys.stderr.isatty() and not as_json, "object") as bar,
        ):
            take_over(hub.store, hub.projects, plan, bar)
    verb = "would take over" if dry_run else "has taken over"
    champion = f"champion {plan.champion}" if plan.champion else "no champion"
    counted = f"{len(plan.versions)} versions of {source}, {champion}: {len(plan.objects)} objects"
    lines = [f"project {project_id} ({target}) {verb} {counted}", f"{source} stays as it is"]
    if plan.champion and not dry_run:
        lines.append(f"{plan.champion} is announced after the next sweep, with predictions of the tasks that wait")
    told = asdict(plan) | {"source": str(source), "target": str(target), "dry_run": dry_run}
    show(as_json, told | {"objects": len(plan.objects)}, lines)
