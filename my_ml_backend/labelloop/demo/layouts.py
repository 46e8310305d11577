"""How annotators see the demo's examples in Label Studio: a label config, a task's data, the result that is right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.errors import SettingsError
from labelloop.studio.client import Studio
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Box, Json, Region, Span


@dataclass(frozen=True, slots=True)
class Layout:
    """The control tag of a kind, and the object tag that it is about, whose data a task has under ``key``.

    ``entry`` is what the control tag calls a label of it, ``name`` what results call the control tag. ``value`` gives
    the value of a region's result.
    """

    control: str
    entry: str
    about: str
    key: str
    value: Callable[[Region, Example], Json]
    name: str = "label"

    def label_config(self, classes: Sequence[str], choice: str) -> str:
        """Write the label config of a project with these labels."""
        labels = "".join(f"<{self.entry} value={quoteattr(name)}/>" for name in classes)
        how = f' choice="{choice}" showInline="true"' if self.control == "Choices" else ""
        wide = ' maxWidth="360px"' if (self.control, self.about) == ("Choices", "Image") else ""
        control = f'<{self.control} name="{self.name}" toName="{self.key}"{how}>{labels}</{self.control}>'
        shown = f'<{self.about} name="{self.key}" value="${self.key}"{wide}/>'
        # What is chosen stands below what it is about, labels to draw with above.
        return f"<View>{shown}{control}</View>" if self.control == "Choices" else f"<View>{control}{shown}</View>"

    def result(self, example: Example) -> list[Json]:
        """Write what is true of an example as an annotation's result."""
        if self.control == "Choices":
            return [self._region({"choices": list(example.labels)})] if example.labels else []
        return [
            self._region({**self.value(one, example), self.control.lower(): [one.label]}) for one in example.regions
        ]

    def _region(self, value: Json) -> Json:
        return {"from_name": self.name, "to_name": self.key, "type": self.control.lower(), "value": value}


def _span(region: Region, example: Example) -> Json:
    if not isinstance(region.shape, Span):
        raise SettingsError(f"a region of {example.text[:40]!r} is no part of a text")
    start, end = region.shape.start, region.shape.end
    return {"start": start, "end": end, "text": example.text[start:end]}


def _box(region: Region, example: Example) -> Json:
    box = region.shape
    if not isinstance(box, Box):
        raise SettingsError(f"a region of {example.path} is no box")
    percent = {name: 100 * getattr(box, name) for name in ("x", "y", "width", "height")}
    return {**percent, "rotation": box.rotation}


def _whole(region: Region, _: Example) -> Json:
    raise SettingsError(f"{region.label} is of a part, where labels of the whole are asked for")


LAYOUTS: Mapping[str, Layout] = {
    IMAGES: Layout("Choices", "Choice", "Image", "image", _whole),
    TEXTS: Layout("Choices", "Choice", "Text", "text", _whole),
    SPANS: Layout("Labels", "Label", "Text", "text", _span),
    BOXES: Layout("RectangleLabels", "Label", "Image", "image", _box),
}
"""The layout of each kind that there is a demo of."""


def label_config(examples: Examples) -> str:
    """Write the label config of a project of these examples."""
    return LAYOUTS[examples.kind].label_config(examples.classes, examples.choice)


def upload(studio: LabelStudio, client: Studio, project: int, examples: Examples) -> dict[int, Example]:
    """Make the project's tasks of what is to be shown; gives each task's example."""
    shown = examples.shown
    if LAYOUTS[examples.kind].key == "text":
        tasks: list[Mapping[str, Any]] = [{"text": one.text, "number": at} for at, one in enumerate(shown)]
        studio.import_tasks(project, tasks)
        return {task["id"]: shown[task["data"]["number"]] for task in client.tasks(project)}
    names = {f"{at:05}{one.path.suffix.lower() if one.path else ''}": one for at, one in enumerate(shown)}
    studio.import_pictures(project, {name: one.content for name, one in names.items()})
    # Label Studio puts random letters and a dash before the name of an upload.
    return {task["id"]: names[task["data"]["image"].rpartition("-")[2]] for task in client.tasks(project)}
