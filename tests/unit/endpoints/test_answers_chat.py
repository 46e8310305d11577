"""What LLMs write: JSON, words around it, and everything that is no answer."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.types import (
    Assignment,
    Failure,
    Findings,
    Input,
    Number,
    Output,
    Region,
    Span,
    Text,
    Wanted,
    WantedLabel,
    Whole,
)
from support.answered import answered
from support.containers.chat import completion, ollama, tokens
from support.examples import examples

LABELS = (WantedLabel("pos", "Positive"), WantedLabel("neg", "Negative"), WantedLabel("U.S.", "U.S."))
TONE = Wanted("tone", "labels", LABELS)
TOPICS = Wanted("topics", "labels", LABELS, "multiple")
WHO = Wanted("who", "spans", (WantedLabel("P", "Person"),), "multiple")
GIST = Wanted("gist", "text")
STARS = Wanted("stars", "number", least=1, most=5, whole=True)


def asked(*wanted: Wanted) -> Input:
    return Input(text="Ada flew to Paris", assignment=Assignment(wanted))


def read(body: object, *wanted: Wanted) -> Findings:
    (answer,) = answered(body, asked(*wanted))
    assert isinstance(answer, Findings), answer
    return answer


def said(content: object, *wanted: Wanted) -> list[Region]:
    body = completion(content if isinstance(content, str) else json.dumps(content))
    return list(read(body, *wanted).regions)


def refused(body: object, *wanted: Wanted) -> str:
    (answer,) = answered(body, asked(*wanted))
    assert isinstance(answer, Failure), answer
    return answer.reason.removeprefix("the endpoint's prediction is wrong: ")


def tone(label: str) -> list[Region]:
    return [Region(label, Whole(), None, "tone")]


@pytest.mark.parametrize(
    "content",
    [
        '{"tone": "Positive"}',
        '\n {"tone":\t"Positive" }\n',
        '{"tone": "pos"}',
        '{"tone": "positive."}',
        '{"tone": ["Positive"]}',
        '{"more": {"tone": "Negative"}, "tone": "Positive"}',
        '```json\n{"tone": "Positive"}\n```',
        '```\n"Positive"\n```',
        'Here it is: {"tone": "Positive"} I hope this helps.',
        '<think>{"tone": "Negative"} would be wrong</think>\n{"tone": "Positive"}',
        'It is {"tone": "Negative"}, or not?</think>{"tone": "Positive"}',
        '"Positive"',
        '["Positive"]',
        " **Positive**.\n",
    ],
)
def test_one_label_however_it_is_written(content: str) -> None:
    assert said(content, TONE) == tone("pos")


def test_a_label_keeps_what_looks_like_punctuation() -> None:
    assert said({"tone": "U.S."}, TONE) == tone("U.S.")
    assert said({"tone": "u.s"}, TONE) == tone("U.S.")


def test_a_label_that_is_none_is_handed_on_as_it_is() -> None:
    assert said({"tone": "Neutral"}, TONE) == tone("Neutral")
    assert said("I would say Positive", TONE) == tone("I would say Positive")


@pytest.mark.parametrize("nothing", [None, "", []])
def test_nothing_said_of_a_tag_is_an_answer(nothing: object) -> None:
    found = read(completion(json.dumps({"tone": nothing})), TONE)
    assert (found.regions, found.tags) == ((), ("tone",))


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ({"topics": ["Negative", "pos", "negative"]}, ["neg", "pos"]),
        ({"topics": "Positive"}, ["pos"]),
        ({"topics": []}, []),
        ("Positive, Negative", ["pos", "neg"]),
        ("- Positive\n- Negative", ["pos", "neg"]),
    ],
)
def test_several_labels(content: object, labels: list[str]) -> None:
    assert said(content, TOPICS) == [Region(label, Whole(), None, "topics") for label in labels]


@pytest.mark.parametrize("choice", ["single", "multiple"])
@pytest.mark.parametrize("value", ["Europe/Italy", ["Europe", "Italy"], [["Europe", "Italy"]]])
def test_a_path_of_a_taxonomy(value: object, choice: Any) -> None:
    paths = (WantedLabel("Europe", "Europe"), WantedLabel("Europe/Italy", "Europe/Italy"))
    found = said({"place": value}, Wanted("place", "labels", paths, choice))
    assert found == [Region("Europe/Italy", Whole(), None, "place")]


def test_every_tag_in_one_answer() -> None:
    content = {
        "tone": "Positive",
        "who": [{"text": "Ada", "label": "Person"}],
        "gist": "A flight.",
        "stars": 4,
        "unasked": 7,
    }
    found = read(completion(json.dumps(content)), TONE, WHO, GIST, STARS)
    assert found.regions == (
        Region("pos", Whole(), None, "tone"),
        Region("P", Span(0, 3), None, "who"),
        Region("", Text("A flight."), None, "gist"),
        Region("", Number(4.0), None, "stars"),
    )
    assert found.tags == ("tone", "who", "gist", "stars")
    assert read(completion('{"gist": "A flight."}'), TONE, GIST).tags == ("gist",), (
        "a tag that is left out says nothing"
    )


def test_what_is_quoted_and_not_there_is_left_out_and_counted() -> None:
    quotes = [{"text": text, "label": "Person"} for text in ("Ada", "Bob", "Eve")]
    found = read(completion(json.dumps({"who": quotes})), WHO)
    assert found.regions == (Region("P", Span(0, 3), None, "who"),)
    assert found.remarks == ("2 of 3 parts that it quotes do not stand in the text",)
    assert "Bob" not in str(found.remarks)
    assert "nothing is left of it: 2 of 2 parts" in refused(completion(json.dumps({"who": quotes[1:]})), WHO)


@pytest.mark.parametrize(("value", "number"), [(4, 4), (4.0, 4), ("4", 4), (" 5. ", 5)])
def test_a_number(value: object, number: float) -> None:
    assert said({"stars": value}, STARS) == [Region("", Number(number), None, "stars")]


def test_without_a_label_config_one_of_the_classes_or_words() -> None:
    body = completion('{"answer": "cat"}')
    assert answered(body) == [Findings((Region("", Text("cat")),), "v1")]
    assert answered(body, classes=("dog", "cat")) == [Findings((Region("cat", Whole()),), "v1")]
    assert answered(completion("a cat on a mat")) == [Findings((Region("", Text("a cat on a mat")),), "v1")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (completion(None, refusal="I cannot help with that."), "the model refuses to answer: I cannot help with that."),
        (completion('{"tone": "Posi', finish_reason="length"), "cut off at its most tokens: raise them"),
        (completion('{"tone": "Positive"}', finish_reason="length"), "cut off"),
        (completion("", finish_reason="content_filter"), "a content filter"),
        (completion(""), "the model wrote nothing"),
        (
            {"choices": [completion("")["choices"][0] | {"error": {"message": "overloaded"}}]},
            "the model failed: overloaded",
        ),
        ({"error": {"message": "No provider", "code": 502}, "user_id": "u"}, "No provider"),
        (completion(None, tool_calls=[{"id": "1", "type": "function"}]), "called a tool instead"),
        (completion("", reasoning_content="Well, ..."), "the model wrote nothing after its reasoning"),
        (completion("<think>Well, ..."), "its reasoning alone"),
        (completion("<think>Well, ...</think>\n"), "its reasoning alone"),
        (completion("\ud800"), "not valid Unicode"),
        (ollama('{"tone": "Posi', done_reason="length"), "num_ctx"),
        (ollama('{"tone"', done=False), "the first part of a stream"),
        (completion('{"tone": "Posi'), "is not the JSON object that was asked for"),
        (completion('{"tone": "Positive"} or {"tone": "Negative"}'), "nor holds just one"),
        (completion('{"tone": "Positive", "tone": "Negative"}'), "is not the JSON object"),
        (completion('{"all": {"tone": "Positive"}, "broken'), "is not the JSON object"),
        (completion('{"tone": NaN}'), "is not the JSON object"),
        (completion("{" * 100_000), "is not the JSON object"),
        (completion('{"label": "Positive"}'), "none of the keys that were asked for: tone"),
        (completion('{"tone": ["Positive", "Negative"]}'), "names 2 labels for 'tone', which takes one"),
        (completion('{"tone": 1}'), "a label is not a text"),
    ],
)
def test_what_is_no_answer_says_why(body: Any, why: str) -> None:
    assert why in refused(body, TONE)


@pytest.mark.parametrize(
    ("content", "wanted", "why"),
    [
        ('{"who": "Ada"}', WHO, "'who' is not a list of parts of a text"),
        ('{"who": ["Ada"]}', WHO, "'who' is not a list of parts of a text"),
        ("Ada is a person.", WHO, "is not the JSON object"),
        ('{"who": [{"text": "Ada"}]}', WHO, "a label is not a text"),
        ('{"gist": "A fli', GIST, "is not the JSON object"),
        ('{"gist": {"a": 1}}', GIST, "'gist' is not a text"),
        ('{"gist": ["", 1]}', GIST, "'gist' is not a text"),
        ('{"stars": 6}', STARS, "'stars' is 6, which is not among the numbers"),
        ('{"stars": 0}', STARS, "'stars' is 0"),
        ('{"stars": 2.5}', STARS, "'stars' is not a whole number"),
        ('{"stars": "four"}', STARS, "'stars' is not a number"),
        ('{"stars": "nan"}', Wanted("stars", "number"), "'stars' is not a finite number"),
        ('{"stars": true}', STARS, "'stars' is not a finite number"),
    ],
)
def test_an_answer_of_another_kind_says_why(content: str, wanted: Wanted, why: str) -> None:
    assert why in refused(completion(content), wanted)


def test_words_alone_do_not_answer_several_tags() -> None:
    assert "is not the JSON object" in refused(completion("Positive"), TONE, GIST)
    assert "is not the JSON object" in refused(completion('["Positive"]'), TONE, GIST)


def test_a_message_may_come_in_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": "x"},
        {"type": "text", "text": '{"tone": '},
        {"type": "text", "text": '"pos"}'},
    ]
    body = {"choices": [{"message": {"role": "assistant", "content": parts}, "finish_reason": "stop"}]}
    assert list(read(body, TONE).regions) == tone("pos")


class TestScores:
    CONTENT = json.dumps({"tone": "Positive"})

    def score(self, listed: object, content: str = CONTENT, wanted: Wanted = TONE) -> float | None:
        return read(completion(content, {"content": listed}), wanted).regions[0].score

    def test_the_probability_of_a_label_is_that_of_its_tokens(self) -> None:
        told = tokens(self.CONTENT, ('"tone', -5.0), ("osit", -0.5), ("ive", -0.25))
        assert self.score(told) == pytest.approx(math.exp(-0.75))

    def test_ollama_tells_it_beside_the_message(self) -> None:
        found = read(ollama(self.CONTENT, logprobs=tokens(self.CONTENT, ("osit", -0.5))), TONE)
        assert found.regions[0].score == pytest.approx(math.exp(-0.5))

    def test_tokens_may_cut_characters_and_stand_among_others(self) -> None:
        content = '{"tone": "\u4eac\u90fd"}'
        label = Wanted("tone", "labels", (WantedLabel("\u4eac\u90fd", "\u4eac\u90fd"),))
        cut = [{"token": "?", "bytes": [byte], "logprob": -0.125} for byte in content.encode()]
        before, behind = {"token": "<think>", "logprob": -3.0}, {"token": "<|end|>", "bytes": None, "logprob": -9.0}
        assert self.score([before, *cut, behind], content, label) == pytest.approx(math.exp(-0.125 * 6))

    @pytest.mark.parametrize(
        "listed",
        [
            None,
            [],
            "none",
            [{"token": "another text", "logprob": -0.5}],
            [{"token": '{"tone": "Positive"}', "logprob": None}],
            [{"token": '{"tone": "Positive"}', "logprob": "low"}],
            [7, {"logprob": 1}],
        ],
    )
    def test_where_nobody_says_so_it_is_unknown(self, listed: object) -> None:
        assert self.score(listed) is None

    def test_a_token_that_is_hardly_possible_makes_a_label_impossible(self) -> None:
        assert self.score(tokens(self.CONTENT, ("osit", -9999.0))) == 0.0

    def test_rounding_makes_nobody_surer_than_sure(self) -> None:
        assert self.score(tokens(self.CONTENT, ("osit", 1e-6))) == 1.0

    def test_a_list_of_labels_has_no_score(self) -> None:
        content = json.dumps({"topics": ["Positive"]})
        assert self.score(tokens(content, ("osit", -0.5)), content, TOPICS) is None

    def test_words_alone_have_one(self) -> None:
        assert self.score(tokens("Positive", ("ive", -0.5)), "Positive") == pytest.approx(math.exp(-0.5))


def test_the_version_is_the_model_unless_one_is_set() -> None:
    body = json.dumps(completion('{"tone": "pos"}')).encode()
    for asked_for, version in (
        (Asked([asked(TONE)], name="a-model"), "a-model-2026-11-01"),
        (Asked([asked(TONE)], "mine", name="a-model"), "mine"),
    ):
        (answer,) = read_answer(body, asked_for)
        assert isinstance(answer, Findings)
        assert answer.model_version == version
    nameless = {name: value for name, value in completion('{"tone": "pos"}').items() if name != "model"}
    (answer,) = read_answer(json.dumps(nameless).encode(), Asked([asked(TONE)], name="a-model"))
    assert isinstance(answer, Findings)
    assert answer.model_version == "a-model"


def test_a_mapping_still_reads_what_it_read() -> None:
    body = completion("cat")
    assert answered(body, mapping="choices[0].message.content") == [Findings((Region("", Text("cat")),), "v1")]
    labels = "[{label: choices[0].message.content, score: `1`}]"
    assert answered(body, mapping=labels) == [Output("cat", 1.0, {"cat": 1.0}, "v1")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["tone", "who", "text", "label", "stars"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=8,
)
CONTENT = st.text(max_size=30) | JSON.map(json.dumps) | JSON.map(lambda value: f"So: {json.dumps(value)} ```") | JSON


@settings(max_examples=examples(300))
@given(
    content=CONTENT,
    more=st.dictionaries(st.sampled_from(["refusal", "tool_calls", "finish_reason", "error"]), JSON, max_size=2),
    logprobs=JSON
    | st.builds(
        lambda told: {"content": told}, st.lists(st.dictionaries(st.sampled_from(["token", "logprob", "bytes"]), JSON))
    ),
    wanted=st.lists(st.sampled_from([TONE, TOPICS, WHO, GIST, STARS]), min_size=1, unique=True),
)
def test_whatever_a_server_says_is_an_answer_or_a_reason(content: Any, more: Any, logprobs: Any, wanted: Any) -> None:
    (answer,) = answered(completion(content, logprobs, **more), asked(*wanted))
    if isinstance(answer, Failure):
        assert answer.reason
        return
    assert isinstance(answer, Findings)
    for region in answer.regions:
        assert region.tag in {one.tag for one in wanted}
        assert region.score is None or 0.0 <= region.score <= 1.0
        assert not isinstance(region.shape, Span) or region.shape.end <= 17
