"""Every example on the page of formats is read as the page says."""

import json
import re
from pathlib import Path

import pytest

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.layout import arrange
from labelloop.endpoints.answers.read import ANSWER_FORMATS, RESPONSES
from labelloop.endpoints.requests.registry import REQUESTS, request_format
from labelloop.types import Failure, Input
from support.answered import PICTURE, answered

PAGE = (Path(__file__).parents[3] / "docs/formats.md").read_text()
CLASSES = ("ant", "bee", "cat")
EXAMPLES = re.findall(r"^\| `(\w+)` \| .+ \| `([\[{].+[\]}])` \|$", PAGE, re.MULTILINE)
PATHS = re.findall(r"^\| `(json:\S+)` \| `([\[{].+[\]}])` \|$", PAGE, re.MULTILINE)
MAPPINGS = re.findall(r"^\| `([\[{].+[\]}])` \| `(.+)` \|$", PAGE, re.MULTILINE)
OWN = re.findall(r'^    (\{"(?:label|regions).+\})$', PAGE, re.MULTILINE)


def test_the_table_is_in_the_order_of_recognition() -> None:
    assert ["auto", *(name for name, _ in EXAMPLES)] == list(RESPONSES)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_is_recognised(name: str, example: str) -> None:
    classes = {"detections": ("ant", "bee", "cat", "dog", "elk"), "binary": ("ant", "bee")}.get(name, CLASSES)
    arranged = arrange(json.loads(example), Asked((PICTURE,), classes=classes), ANSWER_FORMATS)
    assert arranged is not None
    assert arranged[0].name == name
    assert not isinstance(answered(json.loads(example), PICTURE, classes=classes)[0], Failure)


@pytest.mark.parametrize(("answer", "mapping"), MAPPINGS)
def test_a_mapping_turns_its_answer_into_a_prediction(answer: str, mapping: str) -> None:
    assert not isinstance(answered(json.loads(answer), PICTURE, mapping=mapping)[0], Failure)


@pytest.mark.parametrize("example", OWN)
def test_our_own_language_is_read_strictly_too(example: str) -> None:
    body = {"predictions": [json.loads(example)]}
    assert not isinstance(answered(body, PICTURE, response="labelloop")[0], Failure)


@pytest.mark.parametrize(("request_format_name", "body"), PATHS)
def test_a_path_writes_what_the_page_says(request_format_name: str, body: str) -> None:
    form = request_format(request_format_name, kind="http")
    texts = [Input(text="a text"), Input(text="another")] if "text" in body else [Input(b"x", "image/png")]
    assert json.loads(form.write(texts).content) == json.loads(body.replace('..."', 'eA=="'))


def test_nothing_on_the_page_is_left_out() -> None:
    assert len(MAPPINGS) == 4
    assert len(OWN) == 2
    assert len(PATHS) == 5
    assert all(f"| `{name}` |" in PAGE for name in REQUESTS if name != "auto")
