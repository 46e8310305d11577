"""``labelloop probe``: what somebody who connects an endpoint is shown, over HTTP."""

import base64
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labelloop.cli.endpoints import Question, probe_lines
from labelloop.errors import SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.settings import Settings
from support.answered import png
from support.containers.chat import completion
from support.misbehaving import Exchange, Misbehaving, answer, misbehaving
from support.studio_api import StudioApi

from .conftest import MakeHub

LABELS = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
TEXT_CONFIG = (
    '<View><Text name="t" value="$text"/><Choices name="c" toName="t"><Choice value="Katze"/></Choices></View>'
)


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving(answer(LABELS)) as running:
        yield running


def question(**given: Any) -> Question:
    usual: dict[str, Any] = dict.fromkeys(("file", "text", "uri", "label_config", "project")) | {"options": {}}
    return Question(**usual | given)


def hub_for(server: Misbehaving, **given: Any) -> Hub:
    return open_hub(Settings(endpoint=f"{server.address}/predict", **given))


def test_every_step_is_shown(server: Misbehaving) -> None:
    lines, well = probe_lines(hub_for(server), question(text="Hello"))
    told = "\n".join(lines)

    assert well
    for part in (
        "Request: application/json",
        "Hello",
        "Answer: ",
        '"score": 0.75',
        "0.7500  cat",
        "<Choices ",
        "choices",
    ):
        assert part in told


def test_an_answer_is_rendered_for_a_label_config_by_the_label_map(server: Misbehaving) -> None:
    hub = hub_for(server, label_map=("cat=Katze",))
    lines, well = probe_lines(hub, question(text="Hello", label_config=TEXT_CONFIG))
    assert well
    assert "Katze" in lines[-1]


def test_a_question_in_words_is_shown_and_a_file_is_not(server: Misbehaving, tmp_path: Path) -> None:
    server.replies = [answer(completion('{"c": "Katze"}'))]
    picture = tmp_path / "noise.png"
    picture.write_bytes(png(50, 50, pixels=random.Random(1).randbytes(7500)))
    hub = open_hub(Settings(endpoint=f"{server.address}/v1/chat/completions?model=a"))
    config = TEXT_CONFIG.replace("<Text", "<Image").replace("$text", "$image")
    lines, well = probe_lines(hub, question(file=picture, label_config=config))
    told = "\n".join(lines)
    assert well
    assert "the one of these labels that fits the picture best" in told
    assert base64.b64encode(picture.read_bytes()).decode()[200:300] not in told
    assert "  -  Katze  Whole()  for c" in lines


def test_an_answer_that_does_not_fit_is_explained(server: Misbehaving) -> None:
    lines, well = probe_lines(hub_for(server), question(text="Hello", label_config=TEXT_CONFIG))
    assert not well
    assert "No prediction: " in lines[-1]
    assert "'Katze'" in lines[-1]


def test_an_unknown_shape_is_shown_and_a_mapping_reads_it(server: Misbehaving) -> None:
    server.replies = [answer({"found": [{"klass": "cat", "p": 0.75}]})]
    lines, well = probe_lines(hub_for(server), question(text="Hello"))
    assert not well
    assert "klass" in lines[-1]
    assert lines[-1].startswith("With response=labels mapping=")
    assert lines[-1].endswith(" it is read as cat 0.75")

    mapping = "found[].{label: klass, score: p}"
    assert probe_lines(hub_for(server), question(text="Hello", options={"mapping": mapping}))[1]


def test_the_command_line_may_name_any_endpoint_and_no_header_is_shown(server: Misbehaving) -> None:
    hub = open_hub(Settings(endpoint="http://127.0.0.1:1/x", endpoint_headers="Authorization: Bearer hush"))
    lines, well = probe_lines(hub, question(text="Hello", options={"endpoint": f"{server.address}/other"}))
    assert well
    assert server.requests[0].line == "POST /other HTTP/1.1"
    assert "hush" not in "\n".join(lines)


def test_an_endpoint_that_is_not_there_is_said(server: Misbehaving) -> None:
    lines, well = probe_lines(open_hub(Settings(endpoint="http://127.0.0.1:1/x")), question(text="Hello"))
    assert not well
    assert "No answer that can be read." in lines
    assert "127.0.0.1:1" in lines[-1]


def test_files_are_sent_by_their_kind(server: Misbehaving, tmp_path: Path) -> None:
    picture, text, wrong = tmp_path / "a.png", tmp_path / "a.txt", tmp_path / "b.txt"
    picture.write_bytes(b"\x89PNG")
    text.write_text("Grüße")
    wrong.write_bytes(b"\xff\xfe\xff")
    for file in (picture, text):
        assert probe_lines(hub_for(server), question(file=file))[1]
    assert server.requests[0].body == b"\x89PNG"
    assert json.loads(server.requests[1].body) == {"instances": [{"text": "Grüße"}]}
    with pytest.raises(SettingsError, match="UTF-8"):
        probe_lines(hub_for(server), question(file=wrong))


def test_an_address_is_sent_for_an_endpoint_that_fetches(server: Misbehaving) -> None:
    probe_lines(hub_for(server), question(uri=" S3://bucket/a.png\n", options={"request": "reference"}))
    assert "s3://bucket/a.png" in json.dumps(json.loads(server.requests[0].body))


def test_a_project_is_asked_for_as_its_ml_backend_says(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    studio.connect("v1", extra_params={"endpoint": f"{server.address}/own", "label_map": {"cat": "Katze"}})
    hub = make_hub(allowed_endpoints=(f"{server.address}/*",))
    lines, well = probe_lines(hub, question(text="Hello", label_config=TEXT_CONFIG, project=7))
    assert well
    assert "Katze" in lines[-1]
    assert server.requests[-1].line == "POST /own HTTP/1.1"

    options = {"endpoint": f"{server.address}/typed"}
    assert not probe_lines(hub, question(text="Hello", label_config=TEXT_CONFIG, project=7, options=options))[1]
    assert server.requests[-1].line == "POST /typed HTTP/1.1"


def test_a_file_goes_under_the_type_of_its_bytes_and_a_page_goes_nowhere(server: Misbehaving, tmp_path: Path) -> None:
    named = tmp_path / "photo.jpg"
    named.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert probe_lines(hub_for(server), question(file=named))[1]
    assert [request.headers["content-type"] for request in server.requests] == ["image/png"]

    named.write_bytes(b"<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(SettingsError, match=r"photo\.jpg is an HTML page, perhaps a login page, which is no picture"):
        probe_lines(hub_for(server), question(file=named))
    assert len(server.requests) == 1


def test_the_control_tag_that_takes_the_answer_may_be_named(server: Misbehaving) -> None:
    two = '<View><Text name="t" value="$text"/>' + "".join(
        f'<Choices name="{name}" toName="t"><Choice value="cat"/></Choices>' for name in ("one", "other")
    )
    asked = {"text": "Hello", "label_config": f"{two}</View>"}
    lines, well = probe_lines(hub_for(server), question(**asked, options={"tag": "other"}))
    assert well
    assert '"from_name": "other"' in lines[-1]
    lines, well = probe_lines(hub_for(server), question(**asked, options={"tag": "third"}))
    assert not well
    assert "are called 'one', 'other'" in lines[-1]


def embeds(exchange: Exchange, *, steady: bool = True, telling: bool = True) -> None:
    """Answer with features by the length of what was sent, and by how often one was asked."""
    sent = len(exchange.request.body) if telling else 0
    turn = 0 if steady else random.random()
    answer({"model": "e5", "outputs": [{"embedding": [sent + turn + at / 7 for at in range(12)]}]})(exchange)


def test_features_are_shown_with_what_to_set(server: Misbehaving) -> None:
    server.replies = [embeds]
    lines, well = probe_lines(hub_for(server), question(text="Hello"))
    told = "\n".join(lines)
    assert "outputs[].embedding: 12 numbers, the same for the same input, others for another input" in told
    assert "With features=outputs[].embedding response=none (it predicts nothing itself), a head" in told
    assert not well, "it predicts nothing as it is set"
    assert len(server.requests) == 3

    spoken = {"features": "outputs[].embedding", "response": "none"}
    lines, well = probe_lines(hub_for(server), question(text="Hello", options=spoken))
    assert well
    assert "With features=outputs[].embedding, a head" in lines[-1]


@pytest.mark.parametrize(("lacking", "said"), [("steady", "others each time"), ("telling", "no others for another")])
def test_numbers_that_are_no_features_are_told_apart(server: Misbehaving, lacking: str, said: str) -> None:
    server.replies = [partial(embeds, steady=lacking != "steady", telling=lacking != "telling")]
    told = "\n".join(probe_lines(hub_for(server), question(text="Hello"))[0])
    assert said in told
    assert "No head of ours can learn from them." in told


def test_a_place_without_features_is_said_to_have_none(server: Misbehaving) -> None:
    lines, well = probe_lines(hub_for(server), question(text="Hello", options={"features": "[0].embedding"}))
    assert not well
    assert "No features where [0].embedding says" in "\n".join(lines)
