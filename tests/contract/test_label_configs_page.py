"""docs/label-configs.md: each example's answer becomes the result that stands beside it."""

import json
import re
from pathlib import Path

import pytest

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.studio.control_tag import OBJECTS
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.rendering import render
from labelloop.types import Failure, Input, Rendering

PAGE = (Path(__file__).parents[2] / "docs/label-configs.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TEXT = "She lives in Paris"


@pytest.mark.parametrize("tag", OBJECTS)
def test_every_control_tag_has_an_example_that_is_true(tag: str) -> None:
    config, wire, result = re.findall(r"```(?:xml|json)\n(.*?)```", SECTIONS[tag], re.DOTALL)
    asked = Asked([Input(text=TEXT)], version="v1")

    (answer,) = read_answer(json.dumps({"predictions": [json.loads(wire)]}).encode(), asked)
    assert not isinstance(answer, Failure)
    (region,) = render(parse_label_config(config), answer, Rendering(), text=TEXT)["result"]

    assert region == json.loads(result) | {"id": region["id"]}


def test_labels_of_what_another_tag_draws_have_an_example_that_is_true() -> None:
    section = PAGE.partition("## Labels of a picture\n")[2].partition("\n## ")[0]
    config, wire, results = re.findall(r"```(?:xml|json)\n(.*?)```", section, re.DOTALL)
    (answer,) = read_answer(wire.encode(), Asked([Input(b"")], version="v1"))
    assert not isinstance(answer, Failure)

    drawn, labelled = render(parse_label_config(config), answer, Rendering())["result"]

    assert drawn["id"] == labelled["id"]
    assert [drawn, labelled] == [one | {"id": drawn["id"]} for one in json.loads(results)]


@pytest.mark.parametrize(("tag", "objects"), OBJECTS.items())
def test_the_table_names_every_control_tag_with_its_objects(tag: str, objects: tuple[str, ...]) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"[`{tag}`]" in line)

    assert f"| {', '.join(name.lower() for name in objects)} |" in row
