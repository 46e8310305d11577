"""``labelloop manifest``: look at lists of labeled pictures, and write them in another format."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from labelloop.cli.border import STDOUT, write_output
from labelloop.cli.terminal import Bar, show
from labelloop.data.formats import FORMATS, Hints, write_listing
from labelloop.data.listing import Listing
from labelloop.data.split import SIDES
from labelloop.loop.hub import Hub
from labelloop.settings import names
from labelloop.sources.urls import local_file
from labelloop.types import IMAGES, Json

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
        click.option("--picture-field", default="", help="The field of task data or the column of the addresses."),
        click.option("--separator", default="", help="What stands between labels in one cell of a table."),
        click.option("--kind", type=click.Choice(["single", "multiple"]), help="How many labels a picture takes."),
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
    """Look at lists of labeled pictures, and write them in another format."""


@manifest.command("show")
@_source
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show_manifest(hub: Hub, /, source: str, as_json: bool, **options: Any) -> None:
    """Count the pictures of each class and side in SOURCE: a folder, a file or its address; fetches no picture."""
    listing = _read(hub, source, options)
    show(as_json, summary(listing), describe(listing))


@manifest.command()
@_source
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--to", "wanted", type=click.Choice(list(FORMATS)), required=True, help="Format of the target.")
@click.pass_obj
def convert(hub: Hub, /, source: str, target: Path, wanted: str, **options: Any) -> None:
    """Write SOURCE as TARGET (- is standard output) in another format and say what that format cannot carry.

    Pictures are fetched only where the target is a folder of them.
    """
    if target == STDOUT and wanted == "imagefolder":
        raise click.UsageError("an imagefolder is a folder, which standard output cannot take: name one")
    listing = _read(hub, source, options)
    if wanted == "imagefolder":
        listing = _at_hand(hub, listing)
    # What named the labels in the source is no name for the target.
    hints = Hints(separator=options["separator"])
    if target == STDOUT:
        with TemporaryDirectory() as folder:
            lost = write_listing(listing, Path(folder) / "listing", wanted, hints)
            write_output(target, (Path(folder) / "listing").read_bytes())
    else:
        lost = write_listing(listing, target, wanted, hints)
    said = [f"{len(listing.records)} records read, {target} written as {wanted}", *(f"  lost: {what}" for what in lost)]
    click.echo("\n".join(said), err=target == STDOUT)


def summary(listing: Listing) -> Json:
    """Sum up a listing: counts by side and class (side "" for records without one), and what is left out."""
    counts = Counter((str(record.side or ""), label) for record in listing.records for label in record.labels)
    records = Counter(str(record.side or "") for record in listing.records)
    return {
        "kind": listing.choice,
        "classes": list(listing.classes),
        "records": len(listing.records),
        "sides": {
            side: {"records": records[side], "classes": {name: counts[side, name] for name in listing.classes}}
            for side in ("", *SIDES)
            if records[side]
        },
        "left_out": [{"task": out.task, "reason": out.reason} for out in listing.left_out],
    }


def describe(listing: Listing) -> list[str]:
    """Say the same in lines."""
    found = summary(listing)
    about = "" if listing.kind == IMAGES else f", {listing.kind}"
    lines = [f"{found['records']} records, {len(listing.classes)} classes, {listing.choice} choice{about}"]
    for side, part in found["sides"].items():
        lines.append(f"{side or 'no side named'}: {part['records']}")
        lines += [f"  {count:>7} {name}" for name, count in part["classes"].items()]
    if listing.left_out:
        lines.append(f"left out: {len(listing.left_out)}")
        lines += [f"  task {out.task}: {out.reason}" for out in listing.left_out[:_SHOWN]]
    return lines


def _read(hub: Hub, source: str, options: dict[str, Any]) -> Listing:
    from labelloop.run.locations import open_listing

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
    from labelloop.studio.label_config import parse_trained

    tag = parse_trained(text).tags[0]
    return replace(
        given,
        label_attribute=given.label_attribute or tag.name,
        picture_field=given.picture_field or tag.target.data_key,
        choice=given.choice or tag.choice,
        classes=given.classes or tuple(label.name for label in tag.labels),
    )


def _at_hand(hub: Hub, listing: Listing) -> Listing:
    """Fetch pictures that are not on this machine into its cache, and name them by their files there."""
    if all(record.text or local_file(record.uri) for record in listing.records):
        return listing
    from labelloop.data.cache import PictureCache
    from labelloop.run.source import fetch_listing

    cache = PictureCache(hub.settings.directory / "cache" / "pictures")
    with Bar(True, "picture") as bar:
        fetched = fetch_listing(listing, cache, hub.settings, bar, opens=hub.reader)
    pictures = {item.task: item for item in fetched.manifest.items}
    found = [
        record if record.text else replace(record, uri=cache.path(pictures[record.task].content).as_uri())
        for record in listing.records
        if record.task in pictures
    ]
    return replace(listing, records=tuple(found), left_out=tuple(fetched.manifest.left_out))
