"""``labelloop export``: hand a version out, its files with a card that says what it is worth."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from labelloop.loop.hub import Hub
from labelloop.loop.registry import existing_project, named_version
from labelloop.models.bundle import bundle_files, check_bundle
from labelloop.models.records import to_bytes
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.report.numbers import NO_INTERVAL, interval, share
from labelloop.types import ADOPTED, BundleInfo, ForeignInfo, Json

_CARD, _RECORD = "README.md", "version.json"


@click.command()
@click.argument("version", required=False)
@click.option("--project", "project_id", type=click.IntRange(1), required=True, help="Label Studio's project id.")
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
    versions = Versions(hub.store, project)
    record = versions.get(version)
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is not empty: name a new folder, so that nothing of yours is mixed in")
    bundle = versions.fetch_bundle(version, hub.settings.directory / "cache" / "bundles")
    _hand_out(bundle, record, target)
    click.echo(f"{version} of project {project_id}: {target}, {', '.join(bundle_files(target))}, {_CARD}, {_RECORD}")


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
    yield f"**{record.verdict}**"
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
    yield from _classes(info, measured.get("per_class") or {})
    yield ""
    yield "## How it came about"
    yield ""
    made, before = record.created or "at a time that is not known", record.parent or "no other version"
    yield f"- made {made}, run `{record.run}`, after {before}"
    yield from (f"- {name}: `{value}`" for name, value in sorted(record.trained_with.items()) if _tells(value))
    yield ""
    yield "## Files"
    yield ""
    yield from (f"- `{name}`: sha256 {digest}" for name, digest in sorted(info.files.items()))
    yield ""
    yield _use(info)


def _use(info: BundleInfo) -> str:
    if isinstance(info, ForeignInfo):
        return f"The model itself lies elsewhere, as {_cell(info.model)}: these are its answers to the test items."
    return "`labelloop serve --bundle .` serves it; https://onnxruntime.ai and torch run its files without LabelLoop."


def _answers(info: BundleInfo) -> str:
    many = "any number" if info.choice == "multiple" else "one"
    return f"{many} of {len(info.classes)} classes"


def _figures(measured: Json) -> Iterator[str]:
    known = {"accuracy": measured.get("accuracy")}
    known |= {f"{name}, macro": one for name, one in measured.get("macro", {}).items()}
    known["calibration error"] = measured.get("calibration_error")
    for name, one in known.items():
        if one and one.get("value") is not None:
            yield f"| {name} | {share(one['value'])} | {interval(one) or NO_INTERVAL} |"


def _classes(info: BundleInfo, by_class: Json) -> Iterator[str]:
    yield ""
    yield "| class | test items | recall | precision |"
    yield "| --- | --- | --- | --- |"
    for name in info.classes:
        one = by_class.get(name) or {}
        rates = " | ".join(share(one.get(rate)) for rate in ("recall", "precision"))
        yield f"| {_cell(name)} | {one.get('support', '')} | {rates} |"


def _tells(value: object) -> bool:
    """Whether a hyperparameter says something to who has not this machine: a file's hash does, its path does not."""
    return value not in ("", (), []) and not (isinstance(value, str) and "/" in value)


def _cell(text: str) -> str:
    """Write a class's name so that it ends no cell and no line."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
