"""``labelloop probe``: one input through an endpoint, every step of it shown."""

import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from labelloop.endpoints.probe import Probed, excerpt, probe
from labelloop.errors import LabelConfigError, SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.options import Options, options_of
from labelloop.loop.serving import extra_params, learn
from labelloop.studio.label_config import parse_label_config, suggest_config
from labelloop.studio.rendering import render
from labelloop.types import Answer, Failure, Findings, Input, Target

_LONGEST = 10_000
"""Characters of a prediction that is shown whole, to be pasted; the run lengths of a mask are not."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to send (one of three), how (keys of ``extra_params``), and for which label config to render the answer."""

    file: Path | None
    text: str | None
    uri: str | None
    options: Mapping[str, str]
    label_config: str | None
    project: int | None


def ask(hub: Hub, question: Question) -> tuple[list[str], bool]:
    """Ask once; gives the lines that tell of it, and whether a prediction came of it.

    Raises SettingsError, and StudioError with a project.
    """
    options, item = _options(hub, question), _input(question)
    project = None if question.project is None else hub.project(question.project)
    probed = probe(options.endpoint, item, Target(project))
    lines = _told(probed)
    if isinstance(probed.answer, Failure):
        return [*lines, "", f"No prediction: {probed.answer.reason}"], False
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
        return Input(uri=question.uri)
    if question.file is None:
        return Input(text=question.text)
    media_type = mimetypes.guess_type(question.file.name)[0] or "application/octet-stream"
    content = question.file.read_bytes()
    if not media_type.startswith("text/"):
        return Input(content, media_type)
    try:
        return Input(text=content.decode())
    except UnicodeDecodeError:
        raise SettingsError(f"{question.file} is not UTF-8 text") from None


def _told(probed: Probed) -> list[str]:
    if probed.request is None:
        return ["Nothing was sent."]
    size = len(probed.request.content)
    lines = [f"Request: {probed.request.media_type}, {size} bytes", excerpt(probed.request.content)]
    if probed.told is None:
        return [*lines, "", "No answer that can be read."]
    return [*lines, "", f"Answer: {probed.told.media_type or 'no type'}", excerpt(probed.told.content)]


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
    return [
        *lines,
        *(
            f"  {'-' if one.score is None else f'{one.score:.4f}'}  {one.label}  {one.shape}"
            for one in answer.regions[:20]
        ),
    ]
