"""LLMs over HTTP: what they are sent, what of it they may refuse, and what comes of their answers."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.requests.registry import request_format
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import EndpointError, SettingsError
from labelloop.types import Answer, Assignment, Failure, Findings, Input, Region, Target, Wanted, WantedLabel, Whole
from support.answered import png
from support.containers.base import PICTURE, TEXT, Received
from support.containers.chat import ANIMAL, MODEL, OLLAMA, OPENAI, asked, completion, ollama, read_ollama, read_openai
from support.misbehaving import Exchange, Misbehaving, Reply, answer, misbehaving

CAT = completion('{"animal": "cat"}')
SHOWN = asked(PICTURE, ANIMAL)
CHOSEN = (Region("c", Whole(), None, "animal"),)


def spec(server: Misbehaving, path: str = OPENAI, **given: Any) -> EndpointSpec:
    return EndpointSpec(f"{server.address}{path}", timeout=10, **given)


def ask(asks: EndpointSpec, item: Input = SHOWN) -> Answer | Failure:
    (found,) = open_endpoint(asks).invoke([item], Target())
    return found


def body_of(server: Misbehaving, number: int = -1) -> Any:
    return json.loads(server.requests[number].body)


def refusing(
    *fields: str, status: int = 400, reason: Callable[[str], object] = lambda name: f"{name} is not known"
) -> Reply:
    """A server that refuses a request with one of the fields in it."""

    def reply(exchange: Exchange) -> None:
        held = [name for name in fields if name in json.loads(exchange.request.body)]
        told = answer({"error": {"message": reason(held[0]), "type": "x"}}, status) if held else answer(CAT)
        told(exchange)

    return reply


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (f"?model={MODEL}", ""),
        (f"?api-version=1&model={MODEL}", "?api-version=1"),
        ("?model=a-model%3A8b&key=a%20b", "?key=a%20b"),
    ],
)
def test_the_model_is_taken_out_of_the_address(query: str, left: str) -> None:
    with misbehaving(answer(CAT)) as server:
        assert isinstance(ask(spec(server, f"/v1/chat/completions{query}")), Findings)
    assert server.requests[0].line == f"POST /v1/chat/completions{left} HTTP/1.1"
    assert body_of(server)["model"] == MODEL


def test_headers_go_along() -> None:
    with misbehaving(answer(CAT)) as server:
        ask(spec(server, headers=(("Authorization", "Bearer TOKEN"),)))
    assert server.requests[0].headers["authorization"] == "Bearer TOKEN"
    assert server.requests[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_a_picture_of_any_kind_is_one_that_every_server_decodes(path: str, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), "tomato").save(file, kind)
    item = asked(Input(file.getvalue(), f"image/{kind.lower()}"), ANIMAL)
    with misbehaving(answer(CAT)) as server:
        ask(spec(server, path), item)
    message = body_of(server)["messages"][-1]
    sent = message["images"][0] if path == OLLAMA else message["content"][1]["image_url"]["url"].partition("base64,")[2]
    with Image.open(io.BytesIO(base64.b64decode(sent, validate=True))) as image:
        assert (image.format, image.size) == ("PNG" if kind == "PNG" else "JPEG", (30, 20))


def test_a_picture_that_is_too_large_is_scaled_down() -> None:
    noisy = Image.effect_noise((600, 400), 90)
    file = io.BytesIO()
    noisy.save(file, "PNG")
    with misbehaving(answer(CAT)) as server:
        assert isinstance(
            ask(spec(server, payload_bytes=60_000), asked(Input(file.getvalue(), "image/png"), ANIMAL)), Findings
        )
    assert len(server.requests[0].body) <= 60_000


def test_the_question_explains_the_labels() -> None:
    config = (
        '<View><Header value="What is it about?"/><Text name="text" value="$text"/><Choices name="topic" toName="text">'
        '<Choice value="Sports" alias="1" hint="games"/><Choice value="Politics" alias="2"/></Choices>'
        '<TextArea name="gist" toName="text" placeholder="in one sentence"/></View>'
    )
    with misbehaving(answer(completion('{"topic": "Politics", "gist": "A vote."}'))) as server:
        found = ask(spec(server), asked(Input(text='Say "cat"\n\u00fc'), config))
    request = server.requests[0]
    question, _, schema = read_openai(Received("/v1/chat/completions", request.headers, request.body))
    for part in ("What is it about?", '"topic"', '"Sports": games', '"Politics"', '"gist": a text (in one sentence)'):
        assert part in question
    assert question.endswith('Say "cat"\n\u00fc')
    assert schema["properties"] == {
        "topic": {"type": "string", "enum": ["Sports", "Politics"]},
        "gist": {"type": "string"},
    }
    assert isinstance(found, Findings)
    assert found.regions[0] == Region("2", Whole(), None, "topic")


def test_more_labels_than_a_schema_takes_are_in_the_question_alone() -> None:
    many = tuple(WantedLabel(f"label {number}", f"label {number}") for number in range(300))
    item = Input(text="x", assignment=Assignment((Wanted("one", "labels", many),)))
    with misbehaving(answer(completion('{"one": "label 299"}'))) as server:
        ask(spec(server), item)
    question, _, schema = read_openai(
        Received("/v1/chat/completions", server.requests[0].headers, server.requests[0].body)
    )
    assert schema["properties"] == {"one": {"type": "string"}}
    assert '- "label 299"' in question


@pytest.mark.parametrize(
    ("path", "parameters", "field", "value"),
    [
        (OPENAI, {"temperature": 0.7}, "temperature", 0.7),
        (OPENAI, {"max_tokens": 5}, "max_tokens", 5),
        (OPENAI, {"response_format": None}, "response_format", None),
        (OPENAI, {"logprobs": None}, "logprobs", None),
        (OLLAMA, {"options": {"num_ctx": 8192}}, "options", {"temperature": 0, "num_ctx": 8192}),
        (OLLAMA, {"options": {"temperature": None}}, "options", {}),
        (OLLAMA, {"format": None}, "format", None),
    ],
)
def test_parameters_are_merged_into_the_body(path: str, parameters: dict[str, Any], field: str, value: object) -> None:
    with misbehaving(answer(CAT)) as server:
        found = ask(spec(server, path, parameters=json.dumps(parameters)))
    assert isinstance(found, Findings)
    assert body_of(server).get(field) == value
    assert (field in body_of(server)) == (value is not None)


def test_words_of_ones_own_go_before_the_question() -> None:
    with misbehaving(answer(CAT)) as server:
        ask(spec(server, parameters='{"system": "You know cats."}'))
    assert body_of(server)["messages"][0]["content"].startswith("You know cats.\n\n")
    assert "system" not in body_of(server)


@pytest.mark.parametrize(
    ("path", "given", "why"),
    [
        ("/v1/chat/completions", {}, "an LLM's address names its model"),
        ("/v1/chat/completions?model=", {}, "names its model"),
        ("/v1/chat/completions?model=a&model=b", {}, "names its model"),
        ("/v1/chat/completions?model=a%0Ab", {}, "names its model"),
        ("/api/chat", {}, "names its model"),
        ("/x", {"request": "chat"}, "names its model"),
        ("", {"request": "chat"}, "needs the complete URL"),
        ("/x?model=a", {"request": "chat:claude"}, "chat:claude is not known"),
        (OPENAI, {"parameters": '{"messages": []}'}, "hold 'messages', which request format chat writes itself"),
        (OPENAI, {"parameters": '{"stream": true}'}, "hold 'stream'"),
        (OPENAI, {"parameters": '{"system": 1}'}, "'system' is not a text"),
        (OPENAI, {"batch": 2}, "carries one input, not 2"),
    ],
)
def test_impossible_settings_say_so(path: str, given: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why.replace("(", r"\(")):
        open_endpoint(EndpointSpec(f"http://127.0.0.1:1{path}", **given))


@pytest.mark.parametrize(("request_format", "reads"), [("chat", read_openai), ("chat:ollama", read_ollama)])
def test_by_name_any_path_may_be_a_chats(request_format: str, reads: Callable[[Received], Any]) -> None:
    with misbehaving(answer(CAT)) as server:
        ask(spec(server, f"/llm?model={MODEL}", request=request_format))
    request = server.requests[0]
    assert request.line == "POST /llm HTTP/1.1"
    reads(
        Received("/api/chat" if "ollama" in request_format else "/v1/chat/completions", request.headers, request.body)
    )


def test_a_cloud_endpoint_has_its_model_and_may_still_speak_it() -> None:
    body = json.loads(request_format("chat", kind="sagemaker").write([SHOWN], {"max_tokens": 50}).content)
    assert "model" not in body
    assert body["max_tokens"] == 50


def test_another_format_by_name_is_none() -> None:
    with misbehaving(answer([{"label": "cat", "score": 1.0}])) as server:
        ask(spec(server, "/v1/chat/completions?model=a", request="raw"))
    assert server.requests[0].line == "POST /v1/chat/completions?model=a HTTP/1.1"
    assert server.requests[0].body == PICTURE.content


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (Input(b"x", "audio/wav", assignment=SHOWN.assignment), "carries pictures and texts, not audio/wav"),
        (Input(uri="https://x/a.png", assignment=SHOWN.assignment), "no address; reference does"),
        (Input(png(2, 2), "image/png", assignment=Assignment()), "of which the label config has no tag"),
        (Input(text="\ud800", assignment=SHOWN.assignment), "not valid Unicode"),
    ],
)
def test_what_cannot_be_asked_about_fails_without_a_call(item: Input, why: str) -> None:
    with misbehaving(answer(CAT)) as server:
        found = ask(spec(server), item)
    assert isinstance(found, Failure)
    assert why in found.reason
    assert server.requests == []


class TestRefusals:
    @pytest.mark.parametrize("status", [400, 403, 404, 422])
    @pytest.mark.parametrize("fields", [("logprobs",), ("temperature",), ("logprobs", "temperature")])
    def test_what_a_server_refuses_by_name_is_left_out_from_then_on(self, status: int, fields: tuple[str, ...]) -> None:
        with misbehaving(refusing(*fields, status=status)) as server:
            endpoint = open_endpoint(spec(server))
            for _ in range(2):
                (found,) = endpoint.invoke([SHOWN], Target())
                assert isinstance(found, Findings), found
                assert found.regions == CHOSEN
        assert len(server.requests) == len(fields) + 2
        left = {"logprobs", "temperature"} - set(fields)
        assert {"logprobs", "temperature"} & body_of(server).keys() == left

    @pytest.mark.parametrize(
        "told",
        [
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs", "input": True}
                ]
            },
            {"object": "error", "message": {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs"}]}},
            [{"error": {"code": 400, "message": 'Unknown name "logprobs": Cannot find field.'}}],
        ],
    )
    def test_it_is_found_in_the_errors_of_many_servers(self, told: object) -> None:
        with misbehaving(answer(told, 422), answer(CAT)) as server:
            assert isinstance(ask(spec(server)), Findings)
        assert {"logprobs", "temperature"} & body_of(server).keys() == {"temperature"}

    def test_without_a_reason_both_are(self) -> None:
        with misbehaving(refusing("logprobs", reason=lambda _: None, status=422)) as server:
            assert isinstance(ask(spec(server)), Findings)
        assert not {"logprobs", "temperature"} & body_of(server).keys()

    def test_what_fails_without_them_too_has_its_own_reason_and_nothing_is_left_out(self) -> None:
        with misbehaving(answer({"detail": []}, 422), answer({"error": "no picture"}, 400), answer(CAT)) as server:
            endpoint = open_endpoint(spec(server))
            assert endpoint.invoke([SHOWN], Target()) == [Failure("no picture")]
            (found,) = endpoint.invoke([SHOWN], Target())
        assert isinstance(found, Findings)
        assert body_of(server)["logprobs"] is True

    def test_a_field_of_the_users_own_stays(self) -> None:
        with misbehaving(refusing("temperature")) as server:
            found = ask(spec(server, parameters='{"temperature": 0.5}'))
        assert found == Failure("temperature is not known")
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("path", "reason", "field"),
        [
            (OPENAI, "'response_format.type' must be 'text'", "response_format"),
            (OPENAI, "Structured output is not supported by this model", "response_format"),
            (OLLAMA, "invalid JSON schema in format", "format"),
        ],
    )
    def test_a_server_without_schemas_is_explained(self, path: str, reason: str, field: str) -> None:
        with misbehaving(answer({"error": reason}, 400)) as server:
            found = ask(spec(server, path))
        assert isinstance(found, Failure)
        assert found.reason.startswith(reason)
        assert f'LABELLOOP_PARAMETERS to {{"{field}": null}}' in found.reason

    def test_a_model_that_is_not_there_is_named(self) -> None:
        told = 'model "a-model:8b" not found, try pulling it first'
        with (
            misbehaving(answer({"error": {"message": told, "type": "api_error", "code": None}}, 404)) as server,
            pytest.raises(EndpointError, match=r"answered 404: model .a-model:8b. not found"),
        ):
            ask(spec(server))

    def test_a_busy_server_is_asked_again_when_it_says(self) -> None:
        busy = answer({"error": {"message": "Rate limit reached", "type": "tokens"}}, 429, headers="Retry-After: 0\r\n")
        with misbehaving(busy, answer(CAT)) as server:
            assert isinstance(ask(spec(server)), Findings)
        assert len(server.requests) == 2


def test_the_version_is_the_models() -> None:
    with misbehaving(answer(CAT)) as server:
        named, own = ask(spec(server)), ask(spec(server, version="mine"))
        assert open_endpoint(spec(server)).name == MODEL
    assert isinstance(named, Findings)
    assert isinstance(own, Findings)
    assert (named.model_version, own.model_version) == ("a-model-2026-11-01", "mine")


def test_ollamas_route_for_texts_without_a_label_config() -> None:
    with misbehaving(answer(ollama('{"answer": "Ada is on her way."}'))) as server:
        found = ask(spec(server, OLLAMA), TEXT)
    assert isinstance(found, Findings)
    assert "what the text is about" in body_of(server)["messages"][1]["content"]


def test_without_a_label_config_the_classes_are_asked_for() -> None:
    with misbehaving(answer(completion('{"answer": "Cat"}'))) as server:
        found = ask(spec(server, classes=("dog", "cat")), PICTURE)
    assert isinstance(found, Findings)
    assert found.regions == (Region("cat", Whole()),)
    schema = body_of(server)["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["dog", "cat"]
