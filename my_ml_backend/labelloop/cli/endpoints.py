"""An endpoint looked at: one input through it, every step shown, and whether it answers as its bundle does here."""

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelloop.cli.terminal import STDOUT, write_output
from labelloop.endpoints.answers.read import ANSWER_FORMATS, NONE
from labelloop.endpoints.probe import FeatureCandidate, Probed, excerpt, probe_endpoint
from labelloop.endpoints.requests.registry import REQUEST_FORMATS
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import LabelConfigError, SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import extra_params, learn
from labelloop.loop.project_options import Options, options_of
from labelloop.loop.project_registry import confirmed_project
from labelloop.sources.media import document_in, media_type_of, named_type
from labelloop.sources.urls import cleaned
from labelloop.studio.assignment import assignment_of
from labelloop.studio.client import Studio
from labelloop.studio.label_config import parse_label_config, suggest_config
from labelloop.studio.rendering import render
from labelloop.types import Answer, Assignment, Failure, Findings, Input, Region, Target

if TYPE_CHECKING:
    from labelloop.endpoint_suite.runner import SuiteRun


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_WORDS = {"passed": "ok  ", "failed": "BAD ", "skipped": "left"}
_LONGEST = 10_000
"""Characters of a prediction that is shown whole, to be pasted; the run lengths of a mask are not."""


@click.command()
@click.option("--endpoint", help="Its address; default: LABELLOOP_ENDPOINT.")
@click.option("--file", "file", type=_FILE, help="What to send: a picture, a sound, or a text (.txt).")
@click.option("--text", help="The text to send.")
@click.option("--uri", help="The address to send, for an endpoint that fetches by itself.")
@click.option("--request", help="Request format; default: LABELLOOP_REQUEST_FORMAT.")
@click.option("--response", help="Response format; default: LABELLOOP_RESPONSE_FORMAT.")
@click.option("--mapping", help="JMESPath expression; default: LABELLOOP_RESPONSE_MAPPING.")
@click.option("--features", help="JMESPath expression that finds features; default: LABELLOOP_FEATURES.")
@click.option("--classes", help="The model's classes, separated by commas; default: LABELLOOP_CLASSES.")
@click.option("--tag", help="Name of the control tag that takes the answer; default: the first that can.")
@click.option("--label-config", type=_FILE, help="Render for this label config; default: one that fits the answer.")
@click.option("--project", "project_id", type=click.IntRange(1), help="Ask and render as for this project.")
@click.option("--list", "listing", is_flag=True, help="List the request and response formats, and who speaks them.")
@click.pass_obj
def probe(hub: Hub, /, file: Path | None, text: str | None, uri: str | None, listing: bool, **options: Any) -> None:
    """Send one input to an endpoint; show the request, the answer, what was read, and what Label Studio would get."""
    if listing:
        click.echo("\n".join(_format_lines()))
        return
    if sum(given is not None for given in (file, text, uri)) != 1:
        raise click.UsageError("give one of --file, --text and --uri")
    project_id, label_config = options.pop("project_id"), options.pop("label_config")
    given = {name: value for name, value in options.items() if value is not None}
    config = label_config.read_text() if label_config else None
    if project_id is not None:
        confirmed_project(hub, project_id)
        with closing(Studio.of(hub.settings)) as studio:
            config = studio.project(project_id).label_config
    lines, well = probe_lines(
        hub, Question(file=file, text=text, uri=uri, options=given, label_config=config, project=project_id)
    )
    click.echo("\n".join(lines))
    if not well:
        sys.exit(1)


def _format_lines() -> list[str]:
    requests = {name: form.read_by for name, form in REQUEST_FORMATS.items()}
    responses = {form.name: form.made_by for form in ANSWER_FORMATS}
    width = max(map(len, (*requests, *responses)))
    return [
        "Requests (--request, LABELLOOP_REQUEST_FORMAT):",
        *(f"  {name:{width}}  {read_by}" for name, read_by in requests.items()),
        "",
        "Answers, in the order in which they are recognised (--response, LABELLOOP_RESPONSE_FORMAT):",
        *(f"  {name:{width}}  {made_by}" for name, made_by in responses.items()),
    ]


@dataclass(frozen=True, slots=True)
class Question:
    """What to send (one of three), how (keys of ``extra_params``), and for which label config to render the answer."""

    file: Path | None
    text: str | None
    uri: str | None
    options: Mapping[str, str]
    label_config: str | None
    project: int | None


def probe_lines(hub: Hub, question: Question) -> tuple[list[str], bool]:
    """Ask once; gives the lines that tell of it, and whether a prediction came of it.

    Raises SettingsError, and StudioError with a project.
    """
    options, item = _options(hub, question), replace(_input(question), assignment=_assignment(question.label_config))
    project = None if question.project is None else hub.project(question.project)
    probed = probe_endpoint(options.endpoint, item, Target(project))
    lines = [*_told(probed), *_of_features(probed, options.endpoint)]
    if options.endpoint.response == NONE:
        return lines, any(one.serve for one in probed.features)
    if isinstance(probed.answer, Failure):
        lines += ["", f"No prediction: {probed.answer.reason}"]
        if probed.proposal is not None:
            lines += ["", f"With {probed.proposal.settings}, it is read as {probed.proposal.gives}"]
        return lines, False
    lines += ["", "Read as:", *_read(probed.answer)]
    config = question.label_config
    if config is None:
        config = suggest_config(item, probed.answer)
        lines += ["", "A label config that shows it:", config]
    try:
        prediction = render(parse_label_config(config), probed.answer, options.rendering, text=item.text)
    except LabelConfigError as error:
        return [*lines, "", f"No prediction: {error}"], False
    whole = json.dumps(prediction, indent=2, ensure_ascii=False)
    told = whole if len(whole) <= _LONGEST else excerpt(whole.encode())
    return [*lines, "", "Label Studio would get:", told], True


def _options(hub: Hub, question: Question) -> Options:
    """Put what the command line says on top of what holds for the project.

    Whoever types an endpoint may name any: then nothing of the project's ``extra_params`` holds, they are for another.
    """
    typed = dict(question.options)
    if "endpoint" in typed:
        return options_of(replace(hub.settings, endpoint=typed.pop("endpoint")), typed)
    return options_of(hub.settings, _extra_params(hub, question.project), typed)


def _extra_params(hub: Hub, number: int | None) -> object:
    """Ask Label Studio what a project wants. Raises StudioError."""
    if number is None:
        return None
    project = hub.project(number)
    learn(hub, project)
    return extra_params(hub, project)


def _input(question: Question) -> Input:
    if question.uri is not None:
        uri = cleaned(question.uri)
        return Input(uri=uri, media_type=named_type(uri))
    if question.file is None:
        return Input(text=question.text)
    name, content = question.file.name, question.file.read_bytes()
    if not named_type(name).startswith("text/"):
        if other := document_in(content):
            raise SettingsError(
                f"{question.file} is {other}, which is no picture and no recording: a text goes as --text, or as a "
                "file whose name ends in .txt"
            )
        return Input(content, media_type_of(content, name))
    try:
        return Input(text=content.decode())
    except UnicodeDecodeError:
        raise SettingsError(f"{question.file} is not UTF-8 text") from None


def _assignment(label_config: str | None) -> Assignment | None:
    """Say what the label config asks; what is wrong with it is said when the answer is rendered."""
    try:
        return None if label_config is None else assignment_of(parse_label_config(label_config))
    except LabelConfigError:
        return None


def _told(probed: Probed) -> list[str]:
    if probed.request is None:
        return ["Nothing was sent."]
    size = len(probed.request.content)
    lines = [f"Request: {probed.request.media_type}, {size} bytes", excerpt(probed.request.content)]
    if probed.told is None:
        return [*lines, "", "No answer that can be read."]
    return [*lines, "", f"Answer: {probed.told.media_type or 'no type'}", excerpt(probed.told.content)]


def _of_features(probed: Probed, spec: EndpointSpec) -> list[str]:
    """Say what in the answer a head could learn from, and what to set."""
    if not probed.features:
        if not spec.features or probed.told is None:
            return []
        return ["", f"No features where {spec.features} says: leave --features out to see what there is."]
    told = (f"  {one.expression}: {one.width} numbers, {_worth(one)}" for one in probed.features)
    lines = ["", "Features:", *told]
    best = next((one for one in probed.features if one.serve), None)
    if best is None:
        return [*lines, "  No head of ours can learn from them."]
    alone = isinstance(probed.answer, Failure) and probed.proposal is None and spec.response != NONE
    more = " response=none (it predicts nothing itself)" if alone else ""
    how = "a head of the project's own learns from them and answers (docs/endpoint-features.md)"
    return [*lines, f"  With features={best.expression}{more}, {how}"]


def _worth(one: FeatureCandidate) -> str:
    steady = {True: "the same for the same input", False: "others each time it is asked", None: "asked once"}
    telling = {True: "others for another input", False: "no others for another input", None: "no other input was asked"}
    return f"{steady[one.steady]}, {telling[one.telling]}"


def _read(answer: Answer) -> list[str]:
    """Say in a line each what the endpoint found."""
    lines = [f"  version {answer.model_version}"]
    if not isinstance(answer, Findings):
        ranked = sorted(answer.scores.items(), key=lambda pair: -pair[1])[:10]
        return [
            *lines,
            f"  a classification ({answer.choice})",
            *(f"    {score:.4f}  {name}" for name, score in ranked),
        ]
    if not answer.regions:
        return [*lines, "  nothing found"]
    left_out = (f"  left out: {remark}" for remark in answer.remarks)
    return [*lines, *map(_read_region, answer.regions[:20]), *left_out]


def _read_region(one: Region) -> str:
    score = "-" if one.score is None else f"{one.score:.4f}"
    tag = f"  for {one.tag}" if one.tag else ""
    return f"  {score}  {one.label}  {one.shape}{tag}"


@click.command("test-endpoint")
@click.option("--endpoint", help="Its address; default: LABELLOOP_ENDPOINT.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="What is deployed: a folder, or a model.tar.gz.",
)
@click.option(
    "--samples",
    "--pictures",
    "own",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of pictures, or of texts (.txt), to ask for as well.",
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
    from labelloop.endpoint_suite.runner import run_suite

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
