"""A label config between tasks and an endpoint: what of a task is sent, what of the answer Label Studio gets.

With a task goes what an annotator drew with a smart tool to ask for a prediction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from labelloop.data.labeling import Subject
from labelloop.errors import MediaError
from labelloop.sources.buckets import refusal
from labelloop.sources.media import Media, document_in, media_type_of, named_type
from labelloop.sources.urls import cleaned, shown
from labelloop.studio.assignment import assignment_of
from labelloop.studio.label_config import LabelConfig, parse_label_config, parse_trained
from labelloop.studio.rendering import render, tags_for
from labelloop.studio.results.drawn import box_of, point_of
from labelloop.types import Answer, Assignment, Input, Json, Prompted, Rendering, TaskKey, value_at

_REFERABLE = ("s3://", "gs://", "http://", "https://")

_MEDIA = ("Image", "Audio", "Video", "PDF")
"""Object tags whose files are no text."""

_POINTS = ("keypointlabels", "keypoint")
_BOXES = ("rectanglelabels", "rectangle")


@dataclass(frozen=True, slots=True)
class LabelStudioInterface:
    """The label config of a project of that number, and what reads the files of its tasks."""

    config: LabelConfig
    media: Media
    project: int

    @classmethod
    def of(cls, label_config: object, media: Media, project: int, subject: Subject | None = None) -> Self:
        """Read a label config: all of it, or what of it is learned alone. Raises LabelConfigError."""
        read = parse_label_config(label_config) if subject is None else parse_trained(label_config, subject)
        return cls(read, media, project)

    @property
    def text(self) -> str:
        """The label config's XML."""
        return self.config.text

    @property
    def assignment(self) -> Assignment:
        """What the control tags ask that can be said in words."""
        return assignment_of(self.config)

    def prompts(self, context: object) -> tuple[Prompted, ...]:
        """Read the points and boxes of an interactive request's ``params.context``."""
        return prompts_of(self.config, context)

    def input_of(self, task: Json, deadline: float | None, *, referable: bool) -> Input:
        """Give the text or the file that the object tag shows of a task."""
        target, number = self.config.target, task.get("id")
        value = value_of(target.data_key, task)
        if value is None:
            raise MediaError(f"task {number} has no {target.data_key!r} in its data, which the label config shows")
        if target.inline:
            return Input(text=value)
        value = cleaned(value)
        key = TaskKey(self.project, number if isinstance(number, int) else None)
        if referable and self._is_referable(value):
            if not self.media.opens(value, key):
                raise MediaError(f"{shown(value)} was not handed on: {refusal(value)}")
            return Input(uri=value, media_type=named_type(value))
        content = self.media.read(value, key, deadline)
        other = shown_instead(target.tag, content)
        if other is not None:
            raise MediaError(
                f"{shown(value)} is {other}, which is nothing that <{target.tag}> shows: it was sent nowhere"
            )
        if target.tag in ("Text", "HyperText"):
            return _text(content, number)
        return Input(content, media_type_of(content, value))

    def shows(self, task: Json) -> str:
        """Give the address that the object tag shows of a task; empty where its data hold the text itself."""
        target = self.config.target
        value = None if target.inline else value_of(target.data_key, task)
        return cleaned(value) if value else ""

    def text_of(self, task: Json) -> str:
        """Give the text that a task's data hold for the object tag; empty where they hold an address."""
        target = self.config.target
        return value_of(target.data_key, task) or "" if target.inline else ""

    def render(self, answer: Answer, how: Rendering, asked: Input) -> Json:
        """Make the prediction of one task; raises LabelConfigError where no control tag takes the answer."""
        return render(self.config, answer, how, text=asked.text, prompt=asked.prompt)

    def tags_for(self, answer: Answer, how: Rendering) -> frozenset[str]:
        """Name the control tags that an answer of this form can fill."""
        return tags_for(self.config, answer, how)

    def _is_referable(self, url: str) -> bool:
        """Whether another machine can read an address: not Label Studio's own files, nor one with a password."""
        host = url.partition("://")[2].partition("/")[0]
        return url.startswith(_REFERABLE) and "@" not in host and not self.media.is_home(url)


def _text(content: bytes, task_id: object) -> Input:
    try:
        # Browsers show no byte order mark, so offsets count none.
        return Input(text=content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise MediaError(f"the text of task {task_id} is not UTF-8") from None


def value_of(data_key: str, task: Json) -> str | None:
    """Give what a task's data has under ``data_key``, a text or an address; None where there is none or it is empty.

    A ``data_key`` such as ``photo.url`` or ``photos[0]`` leads into nested data, as in Label Studio's interface.
    """
    found = value_at(task.get("data"), data_key)
    return found if isinstance(found, str) and found else None


def shown_instead(tag: str, content: bytes) -> str | None:
    """Say what a file is when it is recognisably not what its object tag shows: nothing, or a document.

    What shows text (``Text``, ``HyperText``) is not judged.
    """
    return document_in(content) or None if tag in _MEDIA else None


def prompts_of(config: LabelConfig, context: object) -> tuple[Prompted, ...]:
    """Read the points and boxes of an interactive request's ``params.context``; what is of another form is left out.

    Label Studio sends what was drawn with smart tools, in percent of the picture: ``{"result": [{"type":
    "keypointlabels", "value": {"x", "y", "width", "keypointlabels": ["cat"]}, "is_positive": true}, ...]}``. A point
    drawn with Alt held down is negative. What is about another object tag than the one whose data goes to the
    endpoint does not count.
    """
    result = context.get("result") if isinstance(context, dict) else None
    regions = result if isinstance(result, list) else []
    return tuple(_prompts(config, regions))


def _prompts(config: LabelConfig, regions: list[object]) -> Iterator[Prompted]:
    named = _named(regions)
    for region in regions:
        if not isinstance(region, dict) or region.get("to_name", config.target.name) != config.target.name:
            continue
        value, kind = region.get("value"), region.get("type")
        if not isinstance(value, dict) or not isinstance(kind, str):
            continue
        shape = point_of(value) if kind in _POINTS else box_of(value) if kind in _BOXES else None
        if shape is not None:
            label = _label(value, kind) or named.get(str(region.get("id")), "")
            yield Prompted(shape, label, region.get("is_positive", True) is not False)


def _named(regions: list[object]) -> Mapping[str, str]:
    """Give the labels that stand in results of their own, by the ids of what they are labels of."""
    found: dict[str, str] = {}
    for region in regions:
        value = region.get("value") if isinstance(region, dict) and region.get("type") == "labels" else None
        if isinstance(region, dict) and isinstance(value, dict) and (label := _label(value, "labels")):
            found.setdefault(str(region.get("id")), label)
    return found


def _label(value: Json, kind: str) -> str:
    for key in (kind, "labels"):
        labels = value.get(key)
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return ""
