"""The answer format ``chat``: what an LLM wrote when it was asked by ``requests/chat.py``, in JSON or around it.

A chat completion of OpenAI's API (API reference, "The chat completion object"), or an answer of Ollama's ``/api/chat``.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from labelloop.endpoints.answers.format import Asked, Malformed, number, unicode_text, whole
from labelloop.endpoints.answers.quotes import find_quotes
from labelloop.endpoints.answers.written import Place, behind_reasoning, find_json, members, probabilities
from labelloop.endpoints.failures import one_line, words_of
from labelloop.types import Assignment, Findings, Input, Number, Region, Text, Wanted, WantedLabel, Whole, bare


def said_of(item: Input, classes: tuple[str, ...]) -> Assignment:
    """Give what is to be said of an input: what annotators are asked, else one of the classes, else a description."""
    if item.assignment is not None:
        return item.assignment
    labels = tuple(WantedLabel(name, name) for name in dict.fromkeys(classes))
    return Assignment((Wanted("", "labels", labels) if labels else Wanted("", "text"),))


def key_of(wanted: Wanted) -> str:
    """Name what is said for a control tag."""
    return wanted.tag or "answer"


def model_of(item: Any) -> str:
    """Read which model wrote a chat's answer; empty where it does not say, or is none."""
    model = item.get("model") if _turn(item) is not None else None
    return model if isinstance(model, str) else ""


class Chat:
    """The answer format ``chat``, OpenAI's and Ollama's: ``{"choices": [{"message": {"content"}}]}``."""

    name = "chat"
    made_by = "LLMs: OpenAI-compatible servers (vLLM, llama.cpp, LM Studio), Ollama"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it holds a message of a chat."""
        return _turn(item) is not None

    def read(self, item: Any, one: Asked) -> Findings:
        """Read what was said for each control tag. Raises Malformed."""
        turn = _turn(item)
        if turn is None:
            raise Malformed("it holds no message")
        content = _content(turn)
        said = list(_said(content, said_of(one.input, one.classes).wanted))
        regions, remarks = [], []
        probability = probabilities(content, _tokens(turn, item))
        for wanted, place in said:
            if wanted.says == "spans":
                found, remark = _spans(wanted, place.value, one.input)
                remarks += [remark] if remark else []
            elif wanted.says == "labels":
                found = _labels(wanted, place, probability)
            else:
                found = list(_written(wanted, place.value))
            regions += found
        if remarks and not regions:
            raise Malformed(f"nothing is left of it: {'; '.join(remarks)}")
        tags = tuple(wanted.tag for wanted, _ in said if wanted.tag)
        return Findings(tuple(regions), one.version, tags=tags, remarks=tuple(remarks))


def _turn(item: Any) -> dict[str, Any] | None:
    """Find what holds the message: the first choice, or, in Ollama's language, the answer itself."""
    if not isinstance(item, dict):
        return None
    choices = item.get("choices")
    holder = choices[0] if isinstance(choices, list) and choices else item
    message = holder.get("message") if isinstance(holder, dict) else None
    return holder if isinstance(message, dict) and ("content" in message or "role" in message) else None


def _content(turn: dict[str, Any]) -> str:
    """Read what the model wrote, whole. Raises Malformed saying why there is nothing that counts."""
    message = turn["message"]
    ended = turn.get("finish_reason") or turn.get("done_reason")
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        raise Malformed(f"the model refuses to answer: {one_line(refusal)}")
    if failed := words_of(turn.get("error")):
        raise Malformed(f"the model failed: {failed}")
    if ended == "content_filter":
        raise Malformed("a content filter of the server stopped the model")
    if ended == "length":
        raise Malformed(
            "the answer was cut off at its most tokens: raise them in the parameters (max_tokens; Ollama: num_predict, "
            "and num_ctx for all that it reads, in options)"
        )
    if turn.get("done") is False:
        raise Malformed("it is the first part of a stream")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and _is_words(part))
    if isinstance(content, str) and content.strip():
        return unicode_text("content", content)
    if message.get("tool_calls"):
        raise Malformed("the model called a tool instead of answering")
    thought = any(message.get(name) for name in ("reasoning", "reasoning_content", "thinking"))
    raise Malformed(f"the model wrote nothing{' after its reasoning' if thought else ''}")


def _tokens(turn: dict[str, Any], item: Any) -> Any:
    """Find the tokens with their logarithms of probabilities: with the choice, or, in Ollama's language, beside it."""
    held = turn.get("logprobs")
    return held.get("content") if isinstance(held, dict) else item.get("logprobs")


def _is_words(part: dict[str, Any]) -> bool:
    return part.get("type") in ("text", "output_text") and isinstance(part.get("text"), str)


def _said(content: str, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Place]]:
    """Find what was said for each tag; nothing for one that is left out. Raises Malformed."""
    start = behind_reasoning(content)
    found = find_json(content, start)
    only = wanted[0] if len(wanted) == 1 else None
    if found is not None and isinstance(found.value, dict):
        held = dict(members(content, found.start))
        told = [(one, held[key_of(one)]) for one in wanted if key_of(one) in held]
        if not told:
            raise Malformed(f"its JSON has none of the keys that were asked for: {_listed(map(key_of, wanted))}")
        yield from told
    elif found is not None and only is not None:
        yield only, found
    elif only is not None and only.says != "spans" and "{" not in content[start:]:
        rest = content[start:]
        first = start + len(rest) - len(rest.lstrip())
        yield only, Place(rest.strip(), first, first + len(rest.strip()), plain=True)
    else:
        raise Malformed("it is not the JSON object that was asked for, nor holds just one")


def _listed(names: Iterator[str]) -> str:
    return one_line(", ".join(names))


def _labels(wanted: Wanted, place: Place, probability: Callable[[int, int], float | None]) -> list[Region]:
    """Read the labels of the whole; of a single one, say how probable it was. Raises Malformed."""
    name = _namer(wanted)
    if place.plain:
        split = re.split(r"[,;\n]", place.value) if wanted.choice == "multiple" else [place.value]
        texts = [place.value] if name(place.value) is not None else split
    else:
        texts = list(_texts(place.value, name))
    labels = list(dict.fromkeys(name(text) or bare(text) or text for text in texts if text.strip()))
    if len(labels) > 1 and wanted.choice == "single":
        raise Malformed(f"it names {len(labels)} labels for {key_of(wanted)!r}, which takes one")
    quoted = 0 if place.plain else 1
    is_one = wanted.choice == "single" and isinstance(place.value, str)
    score = probability(place.start + quoted, place.end - quoted) if is_one else None
    return [Region(label, Whole(), score, wanted.tag) for label in labels]


def _texts(value: Any, name: Callable[[str], str | None]) -> Iterator[str]:
    """Yield the labels of a value: a text, a list of them; a list that is one path of a taxonomy; none for null."""
    if value is None:
        return
    if isinstance(value, list) and value and all(isinstance(step, str) for step in value):
        path = "/".join(value)
        yield from [path] if name(path) is not None else value
    elif isinstance(value, list):
        for one in value:
            yield "/".join(_text(step) for step in one) if isinstance(one, list) else _text(one)
    else:
        yield _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("a label is not a text")
    return unicode_text("label", value)


def _namer(wanted: Wanted) -> Callable[[str], str | None]:
    """Make what gives the name of a label by what a model writes; None where it is none of the tag's."""
    exact = {label.name: label.name for label in wanted.labels} | {one.shown: one.name for one in wanted.labels}
    folded: dict[str, str | None] = {}
    for shown, label in exact.items():
        key = bare(shown).casefold()
        folded[key] = label if folded.get(key, label) == label else None
    return lambda text: exact[text] if text in exact else folded.get(bare(text).casefold())


def _spans(wanted: Wanted, value: Any, item: Input) -> tuple[list[Region], str]:
    """Find the parts of the text that are quoted, and say how many could not be found. Raises Malformed."""
    entries = [] if value is None else value
    if item.text is None or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Malformed(f"{key_of(wanted)!r} is not a list of parts of a text")
    name = _namer(wanted)
    quotes = [(_text(entry.get("text")), _text(entry.get("label"))) for entry in entries]
    named = [(quote, name(label) or label) for quote, label in quotes]
    places = find_quotes(item.text, named)
    found = [Region(label, place, None, wanted.tag) for (_, label), place in zip(named, places, strict=True) if place]
    missing = len(named) - len(found)
    return found, f"{missing} of {len(named)} parts that it quotes do not stand in the text" if missing else ""


def _written(wanted: Wanted, value: Any) -> Iterator[Region]:
    """Read words or a number; nothing for null and empty words. Raises Malformed."""
    if value is None or value == "":
        return
    if wanted.says == "number":
        yield Region("", Number(_number(wanted, value)), None, wanted.tag)
        return
    for words in value if isinstance(value, list) else [value]:
        if not isinstance(words, str) or not words:
            raise Malformed(f"{key_of(wanted)!r} is not a text")
        yield Region("", Text(unicode_text("text", words)), None, wanted.tag)


def _number(wanted: Wanted, value: Any) -> float:
    name = key_of(wanted)
    if isinstance(value, str):
        try:
            value = float(bare(value))
        except ValueError:
            raise Malformed(f"{name!r} is not a number") from None
    read = float(whole(name, value)) if wanted.whole else number(name, value)
    if (wanted.least is not None and read < wanted.least) or (wanted.most is not None and read > wanted.most):
        raise Malformed(f"{name!r} is {read:g}, which is not among the numbers that were asked for")
    return read
