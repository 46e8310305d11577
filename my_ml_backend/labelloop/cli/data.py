"""``labelloop manifest``: look at lists of labeled pictures and texts, and write them in another format."""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from labelloop.cli.terminal import STDOUT, Bar, json_option, show, write_output
from labelloop.data.classes import class_finder
from labelloop.data.formats import FORMATS, Hints, write_listing
from labelloop.data.formats.boxes import size_of_file
from labelloop.data.listing import OF_REGIONS, OF_TEXTS, Listing, Record
from labelloop.data.picture_cache import PictureCache
from labelloop.data.split import SIDES
from labelloop.errors import LabelConfigError, StoreError
from labelloop.kinds.base import Learned
from labelloop.loop.attempts import project_settings
from labelloop.loop.hub import Hub
from labelloop.loop.project_labels import labeling_of, read_labels
from labelloop.regions import read_regions
from labelloop.run.context import Context, read_json
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import with_parameters
from labelloop.run.record import RunInfo
from labelloop.setting_values import names
from labelloop.sources.urls import local_file
from labelloop.studio.client import Studio
from labelloop.studio.data_manager import MOST_IN_TAB, put_tab
from labelloop.types import IMAGES, Item, Json, Progress, ProjectKey

if TYPE_CHECKING:
    from labelloop.studio.control_tag import ControlTag

_SHOWN = 5
"""How many of those left out are told."""


def _source(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says where a source is and how it is read."""
    for add in (
        click.argument("source"),
        click.option(
            "--from", "format", type=click.Choice(["auto", *FORMATS]), default="auto", help="Format of the source."
        ),
        click.option("--label-attribute", default="", help="The attribute, control tag or column of the labels."),
        click.option("--picture-field", default="", help="The field or the column of addresses or texts."),
        click.option("--separator", default="", help="What stands between labels in one cell of a table."),
        click.option("--kind", type=click.Choice(["single", "multiple"]), help="How many labels an item takes."),
        click.option("--classes", default="", help="The classes in their order, separated by commas."),
        click.option(
            "--label-config",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="Label config of a Label Studio export: says control tag, kind, classes and their order.",
        ),
    ):
        command = add(command)
    return command


@click.group()
def manifest() -> None:
    """Look at lists of labeled pictures and texts, and write them in another format."""


@manifest.command("show")
@_source
@json_option
@click.pass_obj
def show_manifest(hub: Hub, /, source: str, as_json: bool, **options: Any) -> None:
    """Count what is labeled in SOURCE, by class and side: a folder, a file or its address; fetches no picture."""
    listing = _read(hub, source, options)
    show(as_json, summary(listing), listing_lines(listing))


@manifest.command()
@_source
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--to", "wanted", type=click.Choice(list(FORMATS)), required=True, help="Format of the target.")
@click.pass_obj
def convert(hub: Hub, /, source: str, target: Path, wanted: str, **options: Any) -> None:
    """Write SOURCE as TARGET (- is standard output) in another format and say what that format cannot carry.

    Pictures are fetched only where the target is a folder of them, or has boxes in pixels and nothing says how many.
    """
    form = FORMATS[wanted]
    if target == STDOUT and not form.suffix:
        raise click.UsageError(f"{wanted} is a folder, which standard output cannot take: name one")
    listing = _read(hub, source, options)
    if not form.suffix or (listing.kind in OF_TEXTS and wanted != "labelloop"):
        listing = _at_hand(hub, listing)
    elif listing.kind in form.pixels:
        listing = _sized(hub, listing)
    # What named the labels in the source is no name for the target.
    hints = Hints(separator=options["separator"])
    if target == STDOUT:
        with TemporaryDirectory() as folder:
            lost = write_listing(listing, Path(folder) / "listing", wanted, hints)
            write_output(target, (Path(folder) / "listing").read_bytes())
    else:
        lost = write_listing(listing, target, wanted, hints)
    said = [
        f"{len(listing.records)} records read, {target} written as {wanted}",
        *(f"  lost: {what}" for what in lost),
        *(f"  warning: {what}" for what in listing.warnings),
    ]
    click.echo("\n".join(said), err=target == STDOUT)


def summary(listing: Listing) -> Json:
    """Sum up a listing: counts by side and class (side "" for records without one), and what is left out.

    Of spans and boxes each counts, of classes each record.
    """
    regions = listing.kind in OF_REGIONS
    counts = Counter(
        (str(record.side or ""), label)
        for record in listing.records
        for label in ((one.label for one in read_regions(record.result)) if regions else record.labels)
    )
    records = Counter(str(record.side or "") for record in listing.records)
    return {
        "kind": listing.choice,
        **({} if listing.kind == IMAGES else {"learns": listing.kind}),
        **({"regions": sum(counts.values())} if regions else {}),
        "classes": list(listing.classes),
        "records": len(listing.records),
        "sides": {
            side: {"records": records[side], "classes": {name: counts[side, name] for name in listing.classes}}
            for side in ("", *SIDES)
            if records[side]
        },
        "left_out": [{"task": out.task, "reason": out.reason} for out in listing.left_out],
        **({"warnings": list(listing.warnings)} if listing.warnings else {}),
    }


def listing_lines(listing: Listing) -> list[str]:
    """Say the same in lines."""
    found = summary(listing)
    about = f", {found['learns']}" if "learns" in found else ""
    about += f", {found['regions']} regions" if "regions" in found else ""
    lines = [f"{found['records']} records, {len(listing.classes)} classes, {listing.choice} choice{about}"]
    for side, part in found["sides"].items():
        lines.append(f"{side or 'no side named'}: {part['records']}")
        lines += [f"  {count:>7} {name}" for name, count in part["classes"].items()]
    if listing.left_out:
        lines.append(f"left out: {len(listing.left_out)}")
        lines += [f"  task {out.task}: {out.reason}" for out in listing.left_out[:_SHOWN]]
    return lines + [f"warning: {what}" for what in listing.warnings]


def _read(hub: Hub, source: str, options: dict[str, Any]) -> Listing:
    from labelloop.run.source import open_listing

    return open_listing(source, hub.settings, options["format"], _hints(options), hub.reader)


def _hints(options: dict[str, Any]) -> Hints:
    given = Hints(
        label_attribute=options["label_attribute"],
        picture_field=options["picture_field"],
        separator=options["separator"],
        choice=options["kind"],
        classes=names(options["classes"]) or None,
    )
    config = options["label_config"]
    return _by_config(given, config.read_text()) if config else given


def _by_config(given: Hints, text: str) -> Hints:
    """Take from the label config what was not said otherwise. Raises LabelConfigError."""
    from labelloop.studio.mapping import label_finder

    tag = _tag(text)
    meant, find = label_finder(tag.labels, labels_first=True), class_finder(given.classes or ())
    return replace(
        given,
        label_attribute=given.label_attribute or tag.name,
        picture_field=given.picture_field or tag.target.data_key,
        choice=given.choice or tag.choice,
        classes=given.classes or tuple(label.name for label in tag.labels),
        find=(lambda label: find(meant(label) or label)) if given.classes else meant,
    )


def _tag(text: str) -> "ControlTag":
    """Give the control tag of a label config whose labels are the classes. Raises LabelConfigError."""
    from labelloop.studio.label_config import parse_label_config, parse_trained

    try:
        return parse_trained(text).tags[0]
    except LabelConfigError:
        # Taxonomies are not learned in the loop; a list of what they say is like any other.
        taxonomy = next((tag for tag in parse_label_config(text).tags if tag.tag == "Taxonomy"), None)
        if taxonomy is None:
            raise
        return taxonomy


def _at_hand(hub: Hub, listing: Listing) -> Listing:
    """Fetch files into the cache: pictures are then named by their files there, and texts stand in their records."""
    if listing.kind in OF_TEXTS:
        return _fetched(hub, listing, lambda record, item, _: replace(record, uri="", text=item.text))
    return _fetched(hub, listing, lambda record, _, file: replace(record, uri=file.as_uri()))


def _sized(hub: Hub, listing: Listing) -> Listing:
    """Fetch the pictures whose sizes nothing says, and note these."""
    if all(record.size or local_file(record.uri) for record in listing.records):
        return listing
    return _fetched(
        hub, listing, lambda record, _, file: replace(record, size=record.size or size_of_file(file.as_uri()))
    )


def _fetched(hub: Hub, listing: Listing, change: Callable[[Record, Item, Path], Record]) -> Listing:
    """Fetch what is not on this machine, and change each such record by its item and the file in the cache."""
    if all(record.text or (local_file(record.uri) and listing.kind not in OF_TEXTS) for record in listing.records):
        return listing
    from labelloop.run.source import fetch_listing

    cache = PictureCache(hub.settings.directory / "cache" / "pictures")
    with Bar(True, "picture") as bar:
        fetched = fetch_listing(listing, cache, hub.settings, bar, opens=hub.reader)
    pictures = {item.task: item for item in fetched.manifest.items}
    found = [
        record if record.text else change(record, pictures[record.task], cache.path(pictures[record.task].content))
        for record in listing.records
        if record.task in pictures
    ]
    return replace(listing, records=tuple(found), left_out=tuple(fetched.manifest.left_out))


TAB = "Label errors (LabelLoop)"


@click.command()
@click.option("--project", "project_id", type=click.IntRange(1), help="Examine this project's annotations as they are.")
@click.option("--run", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Examine a run's manifest.")
@click.option("--top", type=click.IntRange(1, MOST_IN_TAB), default=100, show_default=True, help="At most so many.")
@click.option("--push", is_flag=True, help=f"Show exactly these tasks in the project's tab {TAB!r}.")
@json_option
@click.pass_obj
def label_errors(hub: Hub, project_id: int | None, run: Path | None, top: int, push: bool, as_json: bool) -> None:
    """List labels that a model which has not seen them confidently contradicts, most certain first."""
    if (project_id is None) == (run is None):
        raise click.UsageError("name either --project or --run")
    if push and project_id is None:
        raise click.UsageError("--push makes a tab of a project of Label Studio: name it with --project")
    with Bar(sys.stderr.isatty() and not as_json) as bar:
        found = _of_run(hub, run, bar) if run else _of_project(hub, hub.project(project_id or 0), bar)
    errors = found["errors"][:top]
    lines = [
        f"{len(found['errors'])} of {found['examined']} labels are probably wrong"
        + (f"; the first {top}:" if len(errors) < len(found["errors"]) else ":" if errors else "."),
        *(_line(one) for one in errors),
    ]
    if found["examined"] < hub.settings.min_labels:
        lines.append("So few labels hardly tell: a model that has not seen one learns too little of the others.")
    if push:
        with closing(Studio.of(hub.settings)) as studio:
            found["tab"] = put_tab(studio.api, project_id or 0, TAB, list(dict.fromkeys(one["task"] for one in errors)))
        lines.append(f"tab: {found['tab']}")
    show(as_json, found | {"errors": errors}, lines)


def _line(one: Json) -> str:
    given, suggested = (", ".join(one[key]) or "(none)" for key in ("given", "suggested"))
    left_out = ", left out of training" if one.get("left_out") else ""
    return f"  task {one['task']}: {given} ({one['given_score']:.2f}) -> {suggested} ({one['score']:.2f}){left_out}"


def _of_run(hub: Hub, run: Path, report: Progress) -> Json:
    """Read what the run's evaluation found, or examine its labels now."""
    folder = RunFolder(run)
    done = folder.evaluation / "label_errors.json"
    if done.is_file():
        return read_json(done, "evaluate")
    info = RunInfo.read(folder)
    if info is None:
        raise StoreError(f"{run} is no run's folder: `labelloop train --run DIR` makes one")
    context = Context(folder, with_parameters(hub.settings, info.parameters), report)
    return context.kind.label_errors(context, None)


def _of_project(hub: Hub, project: ProjectKey, report: Progress) -> Json:
    """Read the project's annotations as they are now, and examine them as its champion was trained.

    What the command's own environment says counts only before the first champion.
    """
    # Whoever trains the project, it is our own training whose settings are looked by.
    settings = replace(project_settings(hub, project), trainer="local")
    labeled = read_labels(hub, project, labeling_of(hub, project), report)
    champion, versions, learned = hub.pointer(project).read().champion, hub.versions(project), None
    if champion is not None:
        bundle = versions.fetch_bundle(champion, settings.directory / "cache" / "bundles")
        learned = Learned((), bundle, versions.get(champion).trained_with, settings, hub.features(project))
    with TemporaryDirectory(prefix="labelloop-label-errors-") as folder:
        context = Context(RunFolder(Path(folder)), settings, report, features=hub.features(project))
        context.labeled = labeled
        return context.kind.label_errors(context, learned)
