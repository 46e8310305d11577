"""LLM servers (OpenAI API reference, "Chat completions" and "Structured outputs"; Ollama API reference, "Chat").

Each takes a request apart as strictly as the strictest of its kind, and answers by the schema that it was sent.
"""

import json
import re
from base64 import b64decode
from dataclasses import replace
from typing import Any

from labelloop.studio.assignment import assignment_of
from labelloop.studio.label_config import parse_label_config
from labelloop.types import Findings, Input, Number, Region, Span, Text, Whole
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received, picture_size

MODEL = "a-model:8b"
OPENAI, OLLAMA = f"/v1/chat/completions?model={MODEL}", f"/api/chat?model={MODEL}"

ANIMAL = (
    '<View><Image name="image" value="$image"/><Choices name="animal" toName="image"><Choice value="dog"/>'
    '<Choice value="cat" alias="c"/></Choices></View>'
)
SEEN = (
    '<View><Image name="image" value="$image"/><Choices name="seen" toName="image" choice="multiple">'
    '<Choice value="dog"/><Choice value="cat"/><Choice value="eel"/></Choices></View>'
)
ENTITIES = (
    '<View><Text name="text" value="$text"/><Labels name="who" toName="text"><Label value="PER"/><Label value="LOC"/>'
    '</Labels><Choices name="about" toName="text"><Choice value="travel"/><Choice value="food"/></Choices>'
    '<Rating name="stars" toName="text" maxRating="5"/><TextArea name="gist" toName="text"/></View>'
)
PLACE = (
    '<View><Text name="text" value="$text"/><Taxonomy name="place" toName="text"><Choice value="Europe">'
    '<Choice value="Paris"/></Choice><Choice value="Asia"/></Taxonomy></View>'
)


def asked(item: Input, label_config: str) -> Input:
    """An input with what a label config asks."""
    return replace(item, assignment=assignment_of(parse_label_config(label_config)))


def require(condition: object, why: str) -> None:
    if not condition:
        raise NotAccepted(why)


def require_strict(schema: Any) -> None:
    """Take only what strict structured outputs take: everything required, nothing beside it."""
    kind = schema["type"]
    if kind == "object":
        require(schema.keys() == {"type", "properties", "required", "additionalProperties"}, "an object's keywords")
        require(schema["additionalProperties"] is False, "additionalProperties must be false")
        require(schema["required"] == list(schema["properties"]), "all properties must be required")
        for inner in schema["properties"].values():
            require_strict(inner)
    elif kind == "array":
        require(schema.keys() == {"type", "items"}, "an array's keywords")
        require_strict(schema["items"])
    else:
        require(schema.keys() <= {"type", "enum"} and kind in ("string", "number", "integer"), "a value's keywords")
        require(len(set(schema.get("enum", ["one"]))) == len(schema.get("enum", ["one"])) > 0, "enum")


def require_valid(value: Any, schema: Any) -> None:
    """Hold an answer to its schema: a model that is held to it could write it."""
    if schema["type"] == "object":
        assert value.keys() == schema["properties"].keys(), schema
        for name, inner in value.items():
            require_valid(inner, schema["properties"][name])
    elif schema["type"] == "array":
        for inner in value:
            require_valid(inner, schema["items"])
    else:
        assert isinstance(value, {"string": str, "number": float | int, "integer": int}[schema["type"]]), schema
        assert value in schema.get("enum", [value]), schema


def read_openai(request: Received) -> tuple[str, tuple[int, int] | None, Any]:
    """Read a request; gives the question, the size of the picture, and the schema."""
    body = request.json()
    require(request.path == "/v1/chat/completions", f"no such path: {request.path}")
    known = {"model", "messages", "response_format", "temperature", "logprobs", "stream"}
    require(body.keys() <= known, f"unknown fields: {body.keys() - known}")
    require(body["model"] == MODEL, "no such model")
    require(body["logprobs"] is True and body["temperature"] == 0 and body["stream"] is False, "other options")
    form = body["response_format"]
    require(form["type"] == "json_schema" and form["json_schema"]["strict"] is True, "no strict schema")
    require(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", form["json_schema"]["name"]), "the schema's name")
    require_strict(form["json_schema"]["schema"])
    system, user = body["messages"]
    require(system["role"] == "system" and isinstance(system["content"], str) and user["role"] == "user", "roles")
    if isinstance(user["content"], str):
        return user["content"], None, form["json_schema"]["schema"]
    words, picture = user["content"]
    require(words["type"] == "text" and picture["type"] == "image_url", "parts")
    data = re.fullmatch(r"data:image/(png|jpeg|webp|gif);base64,([\w+/=]+)", picture["image_url"]["url"])
    require(data, "no picture")
    assert data is not None
    return words["text"], picture_size(b64decode(data[2], validate=True)), form["json_schema"]["schema"]


def read_ollama(request: Received) -> tuple[str, tuple[int, int] | None, Any]:
    """The same of Ollama's own language."""
    body = request.json()
    require(request.path == "/api/chat", f"no such path: {request.path}")
    require(body.keys() == {"model", "messages", "format", "options", "logprobs", "stream"}, "fields")
    require(body["model"] == MODEL, "no such model")
    require(body["stream"] is False and body["options"] == {"temperature": 0}, "options")
    require_strict(body["format"])
    system, user = body["messages"]
    require(system["role"] == "system" and user["role"] == "user" and isinstance(user["content"], str), "roles")
    images = [picture_size(b64decode(one, validate=True)) for one in user.get("images", [])]
    return user["content"], images[0] if images else None, body["format"]


def tokens(content: str, *probabilities: tuple[str, float]) -> list[dict[str, Any]]:
    """Cut a text into tokens of three bytes; the one in which a given text begins is as probable as is said."""
    written, logs = content.encode(), {}
    for part, log in probabilities:
        logs[written.index(part.encode()) // 3] = log
    cut = [written[at : at + 3] for at in range(0, len(written), 3)]
    return [
        {
            "token": part.decode(errors="replace"),
            "bytes": list(part),
            "logprob": logs.get(at, 0.0),
            "top_logprobs": [],
        }
        for at, part in enumerate(cut)
    ]


def completion(content: str | None, logprobs: Any = None, **more: Any) -> Any:
    """A chat completion; ``more`` goes into its message, or, as ``finish_reason``, beside it."""
    ended = more.pop("finish_reason", "stop")
    message = {"role": "assistant", "content": content, "refusal": None} | more
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": ended}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    told = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1795187589, "model": "a-model-2026-11-01"}
    return told | {"choices": [choice], "usage": usage}


def ollama(content: str, **more: Any) -> Any:
    """An answer of Ollama's ``/api/chat``."""
    told = {"model": MODEL, "created_at": "2026-11-29T12:00:00.0Z", "done": True, "done_reason": "stop"}
    return told | {"message": {"role": "assistant", "content": content}, "total_duration": 5, "eval_count": 4} | more


def _openai(request: Received) -> Any:
    question, size, schema = read_openai(request)
    require(size == (200, 100), "another picture")
    require('"dog"' in question and '"cat"' in question, "the labels are not in the question")
    said = {"animal": "cat"}
    require_valid(said, schema)
    content = json.dumps(said)
    return completion(content, {"content": tokens(content, ("cat", -0.25)), "refusal": None})


def _vllm(request: Received) -> Any:
    question, _, schema = read_openai(request)
    require(question.endswith(str(TEXT.text)), "the text is not in the question")
    said = {
        "who": [{"text": "Ada", "label": "PER"}, {"text": "Paris", "label": "LOC"}],
        "about": "travel",
        "stars": 4,
        "gist": "A flight.",
    }
    require_valid(said, schema)
    return completion(json.dumps(said), reasoning_content="Ada is a name.", tool_calls=[])


def _llama_cpp(request: Received) -> Any:
    _, size, schema = read_openai(request)
    require(size == (200, 100), "another picture")
    said = {"answer": "a black rectangle"}
    require_valid(said, schema)
    return completion(json.dumps(said, indent=2)) | {"timings": {"prompt_n": 9}, "system_fingerprint": "b9272"}


def _lm_studio(request: Received) -> Any:
    _, _, schema = read_openai(request)
    said = {"place": ["Europe/Paris"]}
    require_valid(said, schema)
    return completion(json.dumps(said)) | {"stats": {}}


def _ollama(request: Received) -> Any:
    question, size, schema = read_ollama(request)
    require(size == (200, 100), "another picture")
    require('"eel"' in question, "the labels are not in the question")
    said = {"seen": ["cat", "dog"]}
    require_valid(said, schema)
    return ollama(json.dumps(said))


CHAT = (
    Container(
        "OpenAI-compatible chat completions",
        asked(PICTURE, ANIMAL),
        _openai,
        Findings((Region("c", Whole(), 0.7788007830714049, "animal"),), "", tags=("animal",)),
        path=OPENAI,
        label_config=ANIMAL,
    ),
    Container(
        "vLLM",
        asked(TEXT, ENTITIES),
        _vllm,
        Findings(
            (
                Region("PER", Span(0, 3), None, "who"),
                Region("LOC", Span(12, 17), None, "who"),
                Region("travel", Whole(), None, "about"),
                Region("", Number(4.0), None, "stars"),
                Region("", Text("A flight."), None, "gist"),
            ),
            "",
            tags=("who", "about", "stars", "gist"),
        ),
        path=OPENAI,
        label_config=ENTITIES,
    ),
    Container(
        "llama.cpp server",
        PICTURE,
        _llama_cpp,
        Findings((Region("", Text("a black rectangle")),), ""),
        path=OPENAI,
    ),
    Container(
        "LM Studio",
        asked(TEXT, PLACE),
        _lm_studio,
        Findings((Region("Europe/Paris", Whole(), None, "place"),), "", tags=("place",)),
        path=OPENAI,
        label_config=PLACE,
    ),
    Container(
        "Ollama",
        asked(PICTURE, SEEN),
        _ollama,
        Findings((Region("cat", Whole(), None, "seen"), Region("dog", Whole(), None, "seen")), "", tags=("seen",)),
        path=OLLAMA,
        label_config=SEEN,
    ),
)
