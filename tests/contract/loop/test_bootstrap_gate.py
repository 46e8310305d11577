"""A project's first version meets its bootstrap endpoint on the test items: what is sent, what counts, what follows."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from labelloop.errors import BootstrapAway
from labelloop.kinds import base
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.retrain import retrain
from labelloop.loop.serving import announced_version
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.types import Item, side
from support import numbers_kind
from support.containers.chat import completion
from support.misbehaving import Exchange, Misbehaving, answer, misbehaving
from support.number_tasks import NUMBERS, add_numbers, label_numbers
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process

pytestmark = pytest.mark.train

ALSO_SMALL = NUMBERS.replace('value="low"', 'value="low" predicted_values="small"')
DOWN = answer({"error": "down"}, 500)
REFUSED = answer({"error": "not this one"}, 422)

Says = Callable[[float], str]


def is_low(number: float) -> bool:
    return number < 5


def label(number: float) -> str:
    return "low" if is_low(number) else "high"


def well(number: float) -> str:
    """Name a class of its own, and one that is a label."""
    return "small" if is_low(number) else "grand"


def says(what: Says, *, words: bool = False) -> Callable[[Exchange], None]:
    """Answer with one label and its score, or as an LLM does, in words alone."""

    def reply(exchange: Exchange) -> None:
        named = what(float(exchange.request.body))
        answer({"generated_text": f" {named.capitalize()}.\n"} if words else {"label": named, "score": 0.9})(exchange)

    return reply


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Misbehaving]:
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    with misbehaving(says(well)) as running:
        yield running


@pytest.fixture
def make(make_hub: MakeHub, studio: StudioApi, bootstrap: Misbehaving) -> MakeHub:
    studio.config = ALSO_SMALL
    studio.connect("labelloop")

    def make(labeled: int = 60, **given: object) -> Hub:
        known = len(studio.tasks)
        add_numbers(studio, range(known + 1, labeled + 11))
        label_numbers(studio, range(known + 1, labeled + 1))
        usual: dict[str, object] = {
            "endpoint": "fake://?classes=low,high",
            "bootstrap_endpoint": f"{bootstrap.address}/zero-shot",
            "bootstrap_options": '{"request": "raw", "version": "zero-shot", "label_map": {"grand": "high"}}',
        }
        return make_hub(**{**usual, **given})

    return make


def train(hub: Hub) -> RunRecord:
    project = hub.project(7)
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


def numbers_tested(studio: StudioApi) -> list[str]:
    """The numbers that are on the test side."""
    numbers = [task["data"]["number"] for task in studio.tasks.values() if task["annotations"]]
    return [number for number in numbers if side(Item.of_text(1, number, ()).content) == "test"]


def test_a_version_that_does_not_beat_it_is_rejected_and_it_predicts_on(
    studio: StudioApi, make: MakeHub, bootstrap: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hub = make()
    record, items = train(hub), numbers_tested(studio)

    count = len(items)
    assert record.state == "rejected"
    assert record.verdict.startswith(
        f"v1 is rejected: {count} of {count} test items right (1.000) against {count} (1.000) of zero-shot; "
    )
    assert "zero-shot predicts until a version beats it" in record.verdict
    assert record.metrics["gate"]["bootstrap"]["version"] == "zero-shot"
    assert sorted(request.body.decode() for request in bootstrap.requests) == sorted(items), "the items, and no label"
    assert f"{count} test items are sent to its bootstrap endpoint 127.0.0.1:{bootstrap.port}/zero-shot" in caplog.text
    assert announced_version(hub, hub.project(7)) == "zero-shot"
    assert ChampionPointer(hub.store, hub.project(7)).read().champion is None


def test_a_version_that_beats_it_is_announced(studio: StudioApi, make: MakeHub, bootstrap: Misbehaving) -> None:
    bootstrap.replies = [says(lambda number: well(number) if number < 1.02 or number > 8.02 else "small")]
    hub = make()
    record = train(hub)

    assert (record.state, record.stage) == ("promoted", "done")
    assert record.verdict.startswith("v1 replaces zero-shot: ")
    assert "v1 becomes the first champion: " in record.verdict
    assert announced_version(hub, hub.project(7)) == "v1"
    assert {version for task in studio.tasks for version in studio.versions_of(task)} == {"v1"}

    asked = len(bootstrap.requests)
    for task in studio.tasks.values():
        if not task["annotations"]:
            studio.annotate(task["id"], label(float(task["data"]["number"])), to_name="number")
    assert "of v1" in train(hub).verdict
    assert len(bootstrap.requests) == asked, "a later version meets the champion, and nobody else"


@pytest.mark.parametrize(("named", "state"), [(label, "rejected"), (lambda _: "middling", "promoted")])
def test_an_answer_in_words_counts_where_it_names_the_label(
    make: MakeHub, bootstrap: Misbehaving, named: Says, state: str
) -> None:
    bootstrap.replies = [says(named, words=True)]
    assert train(make()).state == state


def test_an_llm_is_asked_for_the_labels_of_the_label_config(
    studio: StudioApi, make: MakeHub, bootstrap: Misbehaving
) -> None:
    def reply(exchange: Exchange) -> None:
        body = json.loads(exchange.request.body)
        assert body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["low", "high"]
        number = float(body["messages"][1]["content"].splitlines()[-1])
        answer(completion(json.dumps({"label": label(number)})))(exchange)

    bootstrap.replies = [reply]
    record = train(
        make(
            bootstrap_endpoint=f"{bootstrap.address}/v1/chat/completions?model=m",
            bootstrap_options='{"version": "llm"}',
        )
    )

    count = len(numbers_tested(studio))
    assert len(bootstrap.requests) == count
    assert f"against {count} (1.000) of llm; " in record.verdict


def test_where_it_answers_too_little_the_majority_decides_and_it_is_said(
    studio: StudioApi, make: MakeHub, bootstrap: Misbehaving
) -> None:
    bootstrap.replies = [says(well), REFUSED]
    record = train(make())

    assert record.state == "promoted"
    assert record.verdict.startswith("v1 becomes the first champion")
    assert f"zero-shot answered 1 of {len(numbers_tested(studio))} test items, too few" in record.verdict
    assert "bootstrap" not in record.metrics["gate"]


def test_what_it_did_not_answer_does_not_count(studio: StudioApi, make: MakeHub, bootstrap: Misbehaving) -> None:
    bootstrap.replies = [REFUSED, REFUSED, says(well)]
    record = train(make(300))

    count = len(numbers_tested(studio)) - 2
    assert count >= 20
    assert record.verdict.startswith(f"v1 is rejected: {count} of {count} test items right (1.000) against {count}")
    assert "2 test items that zero-shot did not answer do not count there" in record.verdict


def test_an_item_that_it_always_fails_at_is_not_waited_for(
    studio: StudioApi, make: MakeHub, bootstrap: Misbehaving
) -> None:
    hub = make(375)
    items = numbers_tested(studio)
    assert len(items) == 32 + 1, "the last one is asked for alone"

    def bears_all_but_the_last(exchange: Exchange) -> None:
        (DOWN if exchange.request.body.decode() == items[-1] else says(well))(exchange)

    bootstrap.replies = [bears_all_but_the_last]
    verdict = train(hub).verdict
    assert verdict.startswith("v1 is rejected: 32 of 32 test items right (1.000) against 32")
    assert "1 test items that zero-shot did not answer do not count there" in verdict


def test_while_it_is_away_the_run_waits_and_nothing_is_paid_twice(
    studio: StudioApi, make: MakeHub, bootstrap: Misbehaving
) -> None:
    bootstrap.replies = [*[says(well)] * 32, DOWN]
    hub = make(500)
    with pytest.raises(BootstrapAway, match="bootstrap endpoint cannot be asked"):
        train(hub)
    project = hub.project(7)
    waiting = Runs(hub.store, project).latest()
    assert waiting is not None
    assert (waiting.state, waiting.own_failures) == ("running", 0)
    assert waiting.reason.startswith("waits for the bootstrap endpoint: ")
    assert announced_version(hub, project) == "zero-shot"

    bootstrap.replies, items = [says(well)], numbers_tested(studio)
    bootstrap.requests.clear()
    # Another worker: the breaker of the one before is still open.
    record = train(make(500))
    assert (record.key, record.state) == (waiting.key, "rejected")
    assert len(bootstrap.requests) == len(items) - 32


def test_the_job_waits_for_it_by_name(make: MakeHub, bootstrap: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.replies = [DOWN]
    for hub in of_this_process(make(), monkeypatch):
        project = hub.project(7)
        with pytest.raises(BootstrapAway):
            jobs.retrain(str(project), "test", False)
        wait = project_status(hub, project).wait
        assert wait is not None
        assert wait.away == "the bootstrap endpoint"
