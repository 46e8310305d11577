"""A label config made to show an answer shows it."""

import pytest

from labelloop.studio.label_config import parse_label_config, suggest_config
from labelloop.studio.rendering import render
from labelloop.types import (
    Answer,
    Box,
    Findings,
    Input,
    Mask,
    Number,
    Output,
    Point,
    Polygon,
    Region,
    Rendering,
    Shape,
    Span,
    Text,
    Whole,
)

PICTURE, TEXT = Input(b"x", "image/png"), Input(text="Berlin & Paris")
MANY: dict[str, tuple[Input, Shape, str]] = {
    "box": (PICTURE, Box(0.1, 0.1, 0.2, 0.2), "RectangleLabels"),
    "polygon": (PICTURE, Polygon((Point(0, 0), Point(1, 0), Point(1, 1))), "PolygonLabels"),
    "mask": (PICTURE, Mask(2, 2, b"\xff\0\0\xff"), "BrushLabels"),
    "point": (PICTURE, Point(0.5, 0.5), "KeyPointLabels"),
    "span": (TEXT, Span(0, 6), "Labels"),
    "text": (PICTURE, Text("a caption"), "TextArea"),
    "number": (PICTURE, Number(3), "Number"),
}


def shown(item: Input, answer: Answer) -> tuple[str, int]:
    """The label config, and how many regions it shows."""
    text = suggest_config(item, answer)
    return text, len(render(parse_label_config(text), answer, Rendering(), text=item.text)["result"])


@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("label", ["cat", "<\"&'>", ""])
def test_every_shape_has_its_control_tag(kind: str, label: str) -> None:
    item, shape, tag = MANY[kind]
    label = "" if isinstance(shape, Text | Number) else label
    text, regions = shown(item, Findings((Region(label, shape, 0.9),), "v1", (2, 2)))

    assert f"<{tag} " in text
    assert regions == 1


def test_a_region_without_a_class_still_has_a_label_to_choose() -> None:
    assert '<Label value="object"' in shown(PICTURE, Findings((Region("", Point(0.5, 0.5)),), "v1", (2, 2)))[0]


@pytest.mark.parametrize(("labels", "choice"), [(("cat",), "single"), (("cat", "dog"), "multiple")])
def test_labels_of_the_whole_have_choices(labels: tuple[str, ...], choice: str) -> None:
    text, regions = shown(PICTURE, Findings(tuple(Region(label, Whole()) for label in labels), "v1"))
    assert f'choice="{choice}"' in text
    assert all(f'<Choice value="{label}"' in text for label in labels)
    assert regions == 1


def test_two_shapes_have_two_control_tags() -> None:
    both = (Region("cat", Box(0.1, 0.1, 0.2, 0.2), 0.9), Region("dog", Point(0.5, 0.5), 0.8))
    text, regions = shown(PICTURE, Findings(both, "v1", (2, 2)))
    assert regions == 2
    assert text.index("RectangleLabels") < text.index("KeyPointLabels")


@pytest.mark.parametrize(
    ("item", "tag"), [(PICTURE, "Image"), (TEXT, "Text"), (Input(b"x", "audio/wav"), "Audio")], ids=str
)
@pytest.mark.parametrize("kind", ["single", "multiple"])
def test_a_classification_has_choices(item: Input, tag: str, kind: str) -> None:
    answer = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1", kind)  # type: ignore[arg-type]
    text, regions = shown(item, answer)
    assert f"<{tag} " in text
    assert f'choice="{kind}"' in text
    assert regions == 1
