"""A project's versions: which there are, the report of one, handing one out with its card."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from labelloop.bundle_info import BundleInfo, EndpointHeadInfo, ForeignInfo, Int8
from labelloop.cli.projects import any_project_option
from labelloop.cli.terminal import STDOUT, json_option, show, write_output
from labelloop.loop.hub import Hub
from labelloop.loop.process import named_project
from labelloop.loop.project_registry import existing_project, named_version
from labelloop.loop.reports import await_report
from labelloop.loop.standing import share
from labelloop.loop.track_record import track_record
from labelloop.models.bundle import bundle_files, check_bundle
from labelloop.models.headline import ACCURACY, headline
from labelloop.models.records import to_bytes
from labelloop.models.versions import VersionRecord, VersionState
from labelloop.run.registrar import awaits
from labelloop.run.report.numbers import NO_INTERVAL, fraction, interval
from labelloop.types import ADOPTED, Json, ProjectKey
from labelloop.watch.agreement import Agreed


@click.command()
@any_project_option
@click.option("--version", help="The version, for example v7; default: the champion.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where to write it, - for standard output; default: report-VERSION.html here, or else in MODEL_DIR/reports.",
)
@click.option(
    "--wait",
    "seconds",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="Seconds that a report is waited for which is still being written.",
)
@click.pass_obj
def report(hub: Hub, project_id: int, version: str | None, output: Path | None, seconds: float) -> None:
    """Write a version's report: one HTML file that needs no network."""
    project = existing_project(hub, project_id)
    version = named_version(hub, project, version)
    content = await_report(hub, project, version, seconds, partial(click.echo, err=True))
    places = [output] if output else [Path(name := f"report-{version}.html"), _kept(hub, project) / name]
    target = _write(content, places)
    click.echo(f"report of {version}: {target}", err=target == STDOUT)


def _kept(hub: Hub, project: ProjectKey) -> Path:
    """Name the folder for reports where this one cannot be written, as in a container."""
    return hub.settings.directory / "reports" / str(project)


def _write(content: bytes, places: Sequence[Path]) -> Path:
    """Write to the first place that takes it, and give that. Raises ClickException."""
    for target in places:
        try:
            if target not in (STDOUT, places[0]):
                target.parent.mkdir(parents=True, exist_ok=True)
            write_output(target, content)
        except BrokenPipeError:
            raise
        except OSError as error:
            failed = f"{target} cannot be written ({error.strerror or error})"
        else:
            return target
    raise click.ClickException(f"{failed}. Name a file with --output FILE, or print the report with --output -")


@click.command()
@any_project_option
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tensorboard"),
    show_default=True,
    help="Folder that gets one folder for each version.",
)
@click.pass_obj
def tensorboard(hub: Hub, project_id: int, target: Path) -> None:
    """Copy all versions' curves, figures and pictures to where TensorBoard reads them."""
    project = existing_project(hub, project_id)
    versions = hub.versions(project)
    counts = {name: versions.fetch_events(name, target / name) for name in (one.version for one in versions.all())}
    found = [name for name, count in counts.items() if count]
    if not found:
        raise click.ClickException(
            f"no version of project {named_project(project)} has events: workers of this release keep them with every "
            "version that they train"
        )
    click.echo(f"{', '.join(found)}: tensorboard --logdir {target}")


_CARD, _RECORD = "README.md", "version.json"


@click.command()
@any_project_option
@json_option
@click.pass_obj
def versions(hub: Hub, project_id: int, as_json: bool) -> None:
    """List a project's versions, newest first, with their states and verdicts."""
    project = existing_project(hub, project_id)
    found, damage = track_record(hub, project)
    lines = [
        f"{one.record.version:<4} {one.state:<9} {one.record.recipe:<10} {one.record.told}"
        f"{_in_8_bits(one.record)}{_hint(project, one.record, one.state)}{_told(one.agreement)}"
        for one in found
    ]
    if damage:
        click.echo(f"which of them is champion is unknown: {damage}", err=True)
    whole = [
        {**asdict(one.record), "state": one.state, "agreement": one.agreement.to_json() if one.agreement else None}
        for one in found
    ]
    show(as_json, whole, lines or ["no version yet"])


def _in_8_bits(record: VersionRecord) -> str:
    """Say of a version that it is served in 8 bits."""
    found: Json = record.metrics.get("int8") or {}
    if not found.get("served"):
        return ""
    return f"; served in 8 bits, which answered {found['agreement']:.1%} of {found['compared']} pictures alike"


def _told(agreed: Agreed | None) -> str:
    """Say how many of a version's pre-annotations were kept, of randomly served tasks where there are any."""
    if agreed is None or not agreed.begun:
        return ""
    found = agreed.arms["random"]
    if found.begun:
        return f"; of its pre-annotations of randomly served tasks annotators kept {share(found)}"
    return f"; of its pre-annotations annotators kept {agreed.kept} of {agreed.begun}"


def _hint(project: ProjectKey, record: VersionRecord, state: VersionState) -> str:
    return f"; {awaits(project, record.version)}" if state == "waiting" else ""


@click.command()
@click.argument("version", required=False)
@any_project_option
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A new or empty folder.",
)
@click.pass_obj
def export(hub: Hub, version: str | None, project_id: int, target: Path) -> None:
    """Hand out VERSION (default: the champion): its bundle, its record and a card, in a folder of their own."""
    project = existing_project(hub, project_id)
    version = named_version(hub, project, version)
    versions = hub.versions(project)
    record = versions.get(version)
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is not empty: name a new folder, so that nothing of yours is mixed in")
    bundle = versions.fetch_bundle(version, hub.settings.directory / "cache" / "bundles")
    _hand_out(bundle, record, target)
    files = ", ".join((*bundle_files(target), _CARD, _RECORD))
    click.echo(f"{version} of project {named_project(project)}: {target}, {files}")


def _hand_out(bundle: Path, record: VersionRecord, target: Path) -> None:
    """Fill a folder beside the target, and give it its name when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        folder = Path(beside) / "whole"
        folder.mkdir()
        for name in bundle_files(bundle):
            shutil.copyfile(bundle / name, folder / name)
        (folder / _RECORD).write_bytes(to_bytes(record))
        card = "\n".join(card_lines(record, check_bundle(folder)))
        (folder / _CARD).write_text(card.encode("ascii", "xmlcharrefreplace").decode("ascii") + "\n")
        folder.replace(target)


def card_lines(record: VersionRecord, info: BundleInfo) -> Iterator[str]:
    """Write a version's card in Markdown: what it tells apart, what it was measured at, how it came about."""
    measured: Json = record.metrics.get("test") or {}
    yield f"# {record.version}"
    yield ""
    by = "trained for" if isinstance(info, ForeignInfo) else "by"
    yield f"A model for {info.kind} {by} LabelLoop, recipe `{record.recipe}`: {_answers(info)}."
    yield ""
    yield f"**{record.told}**"
    yield ""
    yield "| | value | 95 % interval |"
    yield "| --- | --- | --- |"
    yield from _figures(measured)
    yield ""
    few = " These are too few to judge by." if measured.get("few") else ""
    seen = (
        "; whether it had learned from them is not known" if record.recipe == ADOPTED else " that training has not seen"
    )
    yield f"Measured on {measured.get('items', 'no')} test items{seen}.{few}"
    yield from _classes(info, measured.get("per_class") or {}, "regions" if "regions" in measured else "items")
    yield ""
    yield "## How it came about"
    yield ""
    made, before = record.created or "at a time that is not known", record.parent or "no other version"
    yield f"- made {made}, run `{record.run}`, after {before}"
    yield from (f"- {name}: `{value}`" for name, value in sorted(record.trained_with.items()) if _tells(value))
    if record.metrics.get("int8"):
        yield f"- {Int8(**record.metrics['int8']).told()}"
    yield ""
    yield "## Files"
    yield ""
    yield from (f"- `{name}`: sha256 {digest}" for name, digest in sorted(info.files.items()))
    yield ""
    yield _use(info)


def _use(info: BundleInfo) -> str:
    if isinstance(info, ForeignInfo):
        return f"The model itself lies elsewhere, as {_cell(info.model)}: these are its answers to the test items."
    if isinstance(info, EndpointHeadInfo):
        return (
            f"A head on the {info.width} features that an endpoint gives of an input (docs/endpoint-features.md): it "
            "answers beside that endpoint alone."
        )
    return "`labelloop serve --bundle .` serves it; https://onnxruntime.ai and torch run its files without LabelLoop."


def _answers(info: BundleInfo) -> str:
    many = "any number" if info.choice == "multiple" else "one"
    return f"{many} of {len(info.classes)} classes"


def _figures(measured: Json) -> Iterator[str]:
    name, main = headline(measured)
    known = {name: main, ACCURACY: measured.get(ACCURACY)}
    known |= {f"{name}, macro": one for name, one in measured.get("macro", {}).items()}
    known["calibration error"] = measured.get("calibration_error")
    for name, one in known.items():
        if one and one.get("value") is not None:
            yield f"| {name} | {fraction(one['value'])} | {interval(one) or NO_INTERVAL} |"


def _classes(info: BundleInfo, by_class: Json, counted: str) -> Iterator[str]:
    yield ""
    yield f"| class | test {counted} | recall | precision |"
    yield "| --- | --- | --- | --- |"
    for name in info.classes:
        one = by_class.get(name) or {}
        rates = " | ".join(fraction(one.get(rate)) for rate in ("recall", "precision"))
        yield f"| {_cell(name)} | {one.get('support', '')} | {rates} |"


def _tells(value: object) -> bool:
    """Whether a hyperparameter says something to who has not this machine: a file's hash does, its path does not."""
    return value not in ("", (), []) and not (isinstance(value, str) and "/" in value)


def _cell(text: str) -> str:
    """Write a class's name so that it ends no cell and no line."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
