"""Every kind of labeling: a label config, a task's data, an endpoint's answer, and what Label Studio then holds."""

from dataclasses import dataclass
from typing import Any

from labelloop.types import (
    Answer,
    Box,
    Findings,
    Json,
    Mask,
    Number,
    Output,
    Point,
    Polygon,
    Region,
    Shape,
    Span,
    Text,
)

VERSION = "endpoint-7"
SIZE = (400, 300)
"""Width and height of the picture, in pixels."""

SENTENCE = "😀😀😀 A trip from Rome to Oslo 👨‍👩‍👧 e\u0301 by rail\r\nto Bonn"
"""Characters that are two UTF-16 units, several characters that are shown as one, a line break of two."""

MASK = Mask(4, 3, bytes([0, 255, 255, 0, 0, 0, 255, 0, 0, 0, 0, 0]))
"""Coarser than the picture: each of its pixels is 100 x 100 of the picture's."""


@dataclass(frozen=True, slots=True, eq=False)
class ResultKind:
    """One kind. ``results``: value and score of each, as Label Studio is to give them back; ``score`` of them all."""

    name: str
    label_config: str
    data: Json
    answer: Answer
    results: tuple[tuple[Json, float | None], ...]
    score: float

    @property
    def text(self) -> str | None:
        """The text to label, if that is what the task has."""
        found = self.data.get("text")
        return found if isinstance(found, str) else None


def _named(kind: str) -> str:
    return "".join(f'<{kind} value="{label}"/>' for label in ("red", "blue"))


def _of_image(control: str) -> str:
    return f'<View><Image name="it" value="$image"/>{control}</View>'


def _of_text(control: str) -> str:
    return f'<View>{control}<Text name="it" value="$text"/></View>'


def _found(*regions: tuple[str, Shape, float | None]) -> Findings:
    return Findings(tuple(Region(*region) for region in regions), VERSION, SIZE)


def _word(word: str) -> tuple[Span, Json]:
    start = SENTENCE.index(word)
    end = start + len(word)
    return Span(start, end), {"start": start, "end": end, "text": word, "labels": ["place"]}


_IMAGE = {"image": "http://pictures.example/shapes.png"}
_TEXT = {"text": SENTENCE}
_AUDIO = {"audio": "http://sounds.example/bark.wav"}
_ONE = Output("blue", 0.7, {"red": 0.3, "blue": 0.7}, VERSION)
_SEVERAL = Output("red", 0.9, {"red": 0.9, "blue": 0.6}, VERSION, "multiple")
_CHOICES = f'<Choices name="tag" toName="it">{_named("Choice")}</Choices>'
_TREE = (
    '<Taxonomy name="tag" toName="it"><Choice value="Animal"><Choice value="Cat"/><Choice value="Dog"/></Choice>'
    '<Choice value="Plant"/></Taxonomy>'
)
_LABELS = '<Labels name="tag" toName="it"><Label value="place"/></Labels>'
_ROME, _ROME_VALUE = _word("Rome")
_BONN, _BONN_VALUE = _word("Bonn")


def _tag(tag: str, **attributes: Any) -> str:
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    inside = _named("Label") if tag.endswith("Labels") else ""
    return f'<{tag} name="tag" toName="it"{written}>{inside}</{tag}>'


_DRAWN: Json = {"x": 10, "y": 20, "width": 30, "height": 25, "rotation": 0}
_OUTLINE: Json = {"points": [[20, 62.5], [45, 93.75], [10, 93.75]], "closed": True}
_CHOSEN: tuple[tuple[Json, float | None], ...] = (({"choices": ["blue"]}, 0.7),)

BOXES = ResultKind(
    "RectangleLabels",
    _of_image(_tag("RectangleLabels")),
    _IMAGE,
    _found(("red", Box(0.1, 0.2, 0.3, 0.25), 0.9), ("blue", Box(0.65, 0.6, 0.25, 0.125, 30.0), 0.4)),
    (
        ({"x": 10, "y": 20, "width": 30, "height": 25, "rotation": 0, "rectanglelabels": ["red"]}, 0.9),
        ({"x": 65, "y": 60, "width": 25, "height": 12.5, "rotation": 30, "rectanglelabels": ["blue"]}, 0.4),
    ),
    0.4,
)
POLYGONS = ResultKind(
    "PolygonLabels",
    _of_image(_tag("PolygonLabels")),
    _IMAGE,
    _found(("red", Polygon((Point(0.2, 0.625), Point(0.45, 0.9375), Point(0.1, 0.9375))), 0.8)),
    (({"points": [[20, 62.5], [45, 93.75], [10, 93.75]], "closed": True, "polygonlabels": ["red"]}, 0.8),),
    0.8,
)
WORDS = ResultKind(
    "Labels",
    _of_text(_LABELS),
    _TEXT,
    Findings((Region("place", _ROME, 0.9), Region("place", _BONN, 0.6)), VERSION),
    ((_ROME_VALUE, 0.9), (_BONN_VALUE, 0.6)),
    0.6,
)
MASKS = ResultKind("BrushLabels", _of_image(_tag("BrushLabels")), _IMAGE, _found(("blue", MASK, 0.8)), (), 0.8)

KINDS = (
    ResultKind("Choices of a picture", _of_image(_CHOICES), _IMAGE, _ONE, _CHOSEN, 0.7),
    ResultKind(
        "Choices of a picture, several",
        _of_image(_CHOICES.replace("name=", 'choice="multiple" name=', 1)),
        _IMAGE,
        _SEVERAL,
        (({"choices": ["red", "blue"]}, 0.6),),
        0.6,
    ),
    ResultKind(
        "Choices with an alias",
        _of_image(_CHOICES.replace('value="blue"', 'value="blue" alias="b"')),
        _IMAGE,
        _ONE,
        (({"choices": ["b"]}, 0.7),),
        0.7,
    ),
    ResultKind("Choices of a text", _of_text(_CHOICES), _TEXT, _ONE, _CHOSEN, 0.7),
    ResultKind(
        "Choices of a sound",
        f'<View><Audio name="it" value="$audio"/>{_CHOICES}</View>',
        _AUDIO,
        _ONE,
        _CHOSEN,
        0.7,
    ),
    ResultKind(
        "Taxonomy",
        _of_image(_TREE),
        _IMAGE,
        Output("Dog", 0.8, {"Cat": 0.1, "Dog": 0.8, "Plant": 0.1}, VERSION),
        (({"taxonomy": [["Animal", "Dog"]]}, 0.8),),
        0.8,
    ),
    BOXES,
    POLYGONS,
    ResultKind(
        "KeyPointLabels",
        _of_image(_tag("KeyPointLabels")),
        _IMAGE,
        _found(("blue", Point(0.7, 0.25), 0.75)),
        (({"x": 70, "y": 25, "width": 0.5, "keypointlabels": ["blue"]}, 0.75),),
        0.75,
    ),
    WORDS,
    ResultKind(
        "Labels of what other tags draw",
        _of_image(
            f'<Labels name="tag" toName="it">{_named("Label")}</Labels><Rectangle name="box" toName="it"/>'
            '<Polygon name="outline" toName="it"/><KeyPoint name="point" toName="it"/>'
        ),
        _IMAGE,
        _found(
            ("red", Box(0.1, 0.2, 0.3, 0.25), 0.9),
            ("blue", Polygon((Point(0.2, 0.625), Point(0.45, 0.9375), Point(0.1, 0.9375))), 0.8),
            ("blue", Point(0.7, 0.25), 0.75),
        ),
        (
            (_DRAWN, 0.9),
            (_DRAWN | {"labels": ["red"]}, 0.9),
            (_OUTLINE, 0.8),
            (_OUTLINE | {"labels": ["blue"]}, 0.8),
            ({"x": 70, "y": 25, "width": 0.5}, 0.75),
            ({"x": 70, "y": 25, "width": 0.5, "labels": ["blue"]}, 0.75),
        ),
        0.75,
    ),
    ResultKind(
        "TextArea",
        _of_image(_tag("TextArea")),
        _IMAGE,
        _found(("", Text("a red box\nand 😀"), 0.5), ("", Text("a blue ball"), None)),
        (({"text": ["a red box\nand 😀", "a blue ball"]}, 0.5),),
        0.5,
    ),
    ResultKind(
        "Rating",
        _of_image(_tag("Rating", maxRating=7)),
        _IMAGE,
        _found(("", Number(5.6), 0.5)),
        (({"rating": 6}, 0.5),),
        0.5,
    ),
    ResultKind(
        "Number",
        _of_text(_tag("Number", min=0, max=10, step=0.5)),
        _TEXT,
        _found(("", Number(3.26), 0.25)),
        (({"number": 3.5}, 0.25),),
        0.25,
    ),
)
"""All but masks, whose value is bits: Label Studio itself decodes them."""
