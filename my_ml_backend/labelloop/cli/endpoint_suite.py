"""``labelloop test-endpoint``: whether a deployed endpoint answers as its bundle does here."""

import json
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelloop.cli.border import STDOUT, write_output
from labelloop.loop.hub import Hub

if TYPE_CHECKING:
    from labelloop.endpoint_suite.run import SuiteRun

_WORDS = {"passed": "ok  ", "failed": "BAD ", "skipped": "left"}


@click.command("test-endpoint")
@click.option("--endpoint", help="Its address; default: LABELLOOP_ENDPOINT.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="What is deployed: a folder, or a model.tar.gz.",
)
@click.option(
    "--pictures", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Pictures to ask for as well."
)
@click.option(
    "--tolerance", type=click.FloatRange(0, 1), default=1e-3, show_default=True, help="How far a score may be off."
)
@click.option("--latency-ms", type=click.FloatRange(0), help="Fail when one request in 20 takes longer.")
@click.option(
    "--json",
    "report",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write what was found here; - is standard output.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PYTEST ARGUMENTS]")
@click.pass_obj
def test_endpoint(hub: Hub, /, endpoint: str | None, bundle: Path, report: Path | None, **options: Any) -> None:
    """Test a deployed endpoint against its bundle. Exit code 1 when a check fails."""
    if find_spec("pytest") is None:
        raise click.ClickException("test-endpoint needs pytest, which is not installed: pip install 'labelloop[test]'")
    from labelloop.endpoint_suite.run import run_suite
    from labelloop.endpoints.spec import EndpointSpec

    spec = EndpointSpec.of(replace(hub.settings, endpoint=endpoint or hub.settings.endpoint))
    tested = run_suite(spec, bundle, **options)
    if report:
        write_output(report, json.dumps(tested.to_json(), indent=2).encode())
    _tell(tested, aside=report == STDOUT)
    if not tested.passed:
        sys.exit(1)


def _tell(tested: "SuiteRun", *, aside: bool) -> None:
    """Say what was found; ``aside`` on standard error, for standard output is taken."""
    say = partial(click.echo, err=aside)
    for one in tested.checked:
        say(f"{_WORDS[one.outcome]} {one.name}: {one.detail}")
        if one.outcome == "failed":
            say(f"     -> {one.meaning}")
    bad = sum(one.outcome == "failed" for one in tested.checked)
    if not tested.checked:
        say("no check was made")
    elif bad:
        say(f"endpoint {tested.endpoint}: {bad} of {len(tested.checked)} checks failed")
    else:
        say(f"endpoint {tested.endpoint} passed {len(tested.checked)} checks")
