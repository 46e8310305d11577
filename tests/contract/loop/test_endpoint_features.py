"""A head of the project's own on the features of somebody else's endpoint: from labels to what annotators are shown."""

import hashlib
import io
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from labelloop.bundle_info import HEAD
from labelloop.errors import FeaturesAway, SettingsError
from labelloop.loop import headed_endpoint
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.predict import predict_tasks
from labelloop.loop.retrain import retrain
from labelloop.loop.serving import announced_version
from labelloop.loop.status import project_status
from labelloop.models.bundle import check_bundle
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.types import Json
from support.answered import png
from support.label_configs import interface
from support.misbehaving import Exchange, Misbehaving, Reply, answer, misbehaving
from support.reports import reported
from support.studio_api import StudioApi

from .conftest import MakeHub

TOPIC = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="card"/><Choice value="transfer"/></Choices></View>'
)
WIDTH = 24

Embeds = Callable[[str], Sequence[float] | None]


def vector(word: str, model: str) -> npt.NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(f"{model} {word}".encode()).digest()[:8])
    return np.random.default_rng(seed).normal(size=WIDTH)


def embedder(model: str = "e5", width: int = WIDTH) -> Embeds:
    """Embed a text as the mean of vectors that its words have, so that texts of a topic lie together."""
    return lambda text: np.mean([vector(word, model) for word in text.split()], axis=0)[:width].round(6).tolist()


def gives(embeds: Embeds, model: str = "e5", *, own: str = "") -> Reply:
    """Answer as an embedding server does; with ``own`` it names that class for everything, too."""

    def reply(exchange: Exchange) -> None:
        (asked,) = json.loads(exchange.request.body)["instances"]
        row = embeds(asked["text"])
        item: Json = {"model_version": model} | ({} if row is None else {"embedding": row})
        if own:
            item |= {"label": own, "score": 0.9}
        answer({"predictions": [item]})(exchange)

    return reply


@pytest.fixture
def endpoint() -> Iterator[Misbehaving]:
    with misbehaving(gives(embedder())) as running:
        yield running


@pytest.fixture
def make(make_hub: MakeHub, studio: StudioApi, endpoint: Misbehaving) -> Callable[..., Hub]:
    """Make a hub whose project asks what texts are about, 60 of 76 annotated, and whose endpoint gives features."""
    studio.config = TOPIC
    studio.connect("labelloop")
    for number in range(1, 77):
        studio.tasks[number] = {"id": number, "data": {"text": text(number)}, "annotations": []}
        if number <= 60:
            studio.annotate(number, topic(number), to_name="text")

    def make(**given: object) -> Hub:
        usual: dict[str, object] = {
            "endpoint": f"{endpoint.address}/embed",
            "features": "predictions[].embedding",
            "request_format": "instances",
            "response_format": "none",
        }
        return make_hub(**usual | given)

    return make


def topic(number: int) -> str:
    return "card" if number % 2 else "transfer"


def text(number: int) -> str:
    return f"{topic(number)} number{number} says word{number % 7}"


def train(hub: Hub) -> RunRecord:
    project = hub.project(7)
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


def predict(hub: Hub, *texts: str) -> list[tuple[str, str] | None]:
    """Ask as Label Studio does; gives label and version, None where there is no prediction."""
    tasks = [{"id": 1000 + at, "data": {"text": one}} for at, one in enumerate(texts)]
    found = predict_tasks(hub, 7, interface(hub, TOPIC), tasks)
    return [
        (one["result"][0]["value"]["choices"][0], one["model_version"]) if isinstance(one, dict) else None
        for one in found
    ]


def asked(endpoint: Misbehaving) -> list[str]:
    return [json.loads(request.body)["instances"][0]["text"] for request in endpoint.requests]


def test_a_head_learns_behind_an_endpoint_that_is_never_deployed_anew(
    make: Callable[..., Hub], studio: StudioApi, endpoint: Misbehaving
) -> None:
    hub = make()
    assert predict(hub, "card of mine") == [None], "it predicts nothing itself, and is not asked"
    assert endpoint.requests == []

    record, project = train(hub), hub.project(7)
    assert (record.state, record.version, record.recipe, record.stage) == ("promoted", "v1", "head", "done")
    assert Versions(hub.store, project).get("v1").metrics["test"]["accuracy"]["value"] == 1.0
    bundle = Versions(hub.store, project).fetch_bundle("v1", hub.settings.directory / "looked-at")
    assert check_bundle(bundle).classes == ("card", "transfer")
    assert sum(path.stat().st_size for path in bundle.iterdir()) < 3_000, "a head, and no network"
    assert announced_version(hub, project) == "v1"
    assert {version for task in range(61, 77) for version in studio.versions_of(task)} == {"v1"}
    assert "label-errors" in reported(hub, project)

    # Each text once, but for the one by which it is seen whose features these are.
    counted = asked(endpoint)
    assert len(counted) - len(set(counted)) == 1
    assert set(counted) == {text(number) for number in range(1, 77)}

    assert predict(hub, "card of mine", "transfer of mine") == [("card", "v1"), ("transfer", "v1")]

    # More labels make another head, of features that are at hand; this process answers with it at once.
    before = len(endpoint.requests)
    for number in range(61, 77):
        studio.annotate(number, topic(number), to_name="text")
    assert train(hub).version == "v2"
    assert len(endpoint.requests) == before + 1, "one text shows that the model is the same"
    assert predict(hub, "card of mine")[0] == ("card", announced_version(hub, project))


def test_the_endpoints_own_answers_serve_until_a_head_beats_them(
    make: Callable[..., Hub], endpoint: Misbehaving
) -> None:
    endpoint.replies = [gives(embedder(), own="card")]
    hub = make(response_format="auto")
    assert predict(hub, "transfer of mine") == [("card", "e5")]
    record = train(hub)
    assert record.verdict.startswith("v1 replaces e5: "), "it met the endpoint's own answers on the test items"
    assert predict(hub, "transfer of mine") == [("transfer", "v1")]


def test_a_head_does_not_answer_on_features_of_another_model(
    make: Callable[..., Hub], endpoint: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [gives(embedder(), own="card")]
    hub = make(response_format="auto")
    assert train(hub).version == "v1"

    endpoint.replies = [gives(embedder("e6"), "e6", own="card")]
    assert predict(hub, "transfer of mine", "transfer of yours") == [("card", "e6")] * 2
    assert caplog.text.count("v1 learned from features of another model than e6") == 1, "it is said once"
    assert "v1 learned from" in project_status(hub, hub.project(7)).trouble
    wish = hub.state(hub.project(7)).wish()
    assert wish is not None
    assert wish.trigger == "features of another model"

    record = train(hub)
    assert (record.state, record.version) == ("promoted", "v2"), "the old head cannot answer, and holds no place"
    assert predict(hub, "transfer of mine") == [("transfer", "v2")]
    assert "v1 learned from" not in project_status(hub, hub.project(7)).trouble

    endpoint.replies = [gives(embedder("e6", WIDTH - 4), "e6", own="card")]
    assert predict(hub, "transfer of theirs") == [("card", "e6")]
    assert "v2 learned from 24 features of an input, and the endpoint gives 20 now" in caplog.text


def test_a_head_that_could_not_be_read_answers_when_it_is_mended(
    make: Callable[..., Hub], endpoint: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.replies = [gives(embedder(), own="card")]
    train(make(response_format="auto"))
    hub = make(response_format="auto")
    shutil.rmtree(hub.settings.directory / "cache" / "bundles")
    (head,) = (path for path, _ in hub.store.sizes(f"{hub.project(7)}/versions/v1/") if path.endswith(HEAD))
    whole = hub.store.read(head).content
    hub.store.write(head, whole[:-1])
    for _ in range(2):
        assert predict(hub, "transfer of mine") == [("card", "e5")]
    hub.store.write(head, whole)
    assert predict(hub, "transfer of yours") == [("card", "e5")], "it was looked for just now"
    monkeypatch.setattr(headed_endpoint, "_now", lambda: time.monotonic() + 60)
    assert predict(hub, "transfer of theirs") == [("transfer", "v1")]


def test_a_model_that_is_replaced_under_its_old_name_is_noticed_by_the_next_run(
    make: Callable[..., Hub], endpoint: Misbehaving, studio: StudioApi
) -> None:
    hub = make()
    train(hub)
    endpoint.replies = [gives(embedder("e6"), "e5")]
    assert train(hub).version == "v2", "the same labels, but other features"
    assert predict(hub, "transfer of mine") == [("transfer", "v2")]
    assert train(hub).version == "v2"


def test_pictures_are_read_once_for_all_heads(make_hub: MakeHub, studio: StudioApi, endpoint: Misbehaving) -> None:
    def embed(exchange: Exchange) -> None:
        with Image.open(io.BytesIO(exchange.request.body)) as picture:
            red, green, blue = picture.convert("RGB").resize((1, 1)).tobytes()
        answer({"embedding": [red / 255, green / 255, blue / 255]})(exchange)

    endpoint.replies = [embed]
    studio.connect("labelloop")
    for number in range(1, 61):
        shade = number if number % 2 else 255 - number
        studio.pictures[f"/data/upload/7/{number}.png"] = png(4, 4, pixels=bytes([shade, 90, number]) * 16)
    studio.add_tasks(60)
    for number in range(1, 41):
        studio.annotate(number, "cat" if number % 2 else "dog")
    hub = make_hub(endpoint=f"{endpoint.address}/embed", features="embedding", response_format="none", min_labels=20)
    assert train(hub).version == "v1"

    studio.annotate(41, "cat")
    for number in range(42, 61):
        del studio.pictures[f"/data/upload/7/{number}.png"]
    before = len(endpoint.requests)
    assert train(hub).version == "v2"
    assert len(endpoint.requests) == before + 1, "one shows that the model is the same"
    assert {"v2"} == {studio.versions_of(task)[-1] for task in range(42, 61)}


def test_what_has_no_features_is_left_out_and_asked_about_again_by_the_next_run(
    make: Callable[..., Hub], endpoint: Misbehaving
) -> None:
    well = embedder()
    lacking: dict[str, Sequence[float] | None] = {
        text(2): None,
        text(3): [float("nan")] * WIDTH,
        text(4): [],
        text(5): [1e300] * WIDTH,
    }
    endpoint.replies = [gives(lambda one: lacking.get(one, []) if one in lacking else well(one))]
    hub = make()
    record = train(hub)
    assert record.state == "promoted", record.verdict
    left_out = Versions(hub.store, hub.project(7)).get("v1").metrics["unreadable"]
    assert set(left_out) <= {hashlib.sha256(one.encode()).hexdigest() for one in lacking}
    assert predict(hub, text(3), "card of mine") == [None, ("card", "v1")]


def test_an_endpoint_that_is_down_is_waited_for(make: Callable[..., Hub], endpoint: Misbehaving) -> None:
    endpoint.replies = [gives(embedder())] * 30 + [answer({"error": "down"}, 500)]
    hub = make()
    with pytest.raises(FeaturesAway, match="features cannot be had now"):
        train(hub)
    record = hub.runs(hub.project(7)).latest()
    assert record is not None
    assert (record.state, record.failures) == ("running", 0)
    answered = len(endpoint.requests)
    endpoint.replies = [gives(embedder())]
    assert train(make()).version == "v1", "another process, whose breaker is closed"
    assert len(endpoint.requests) - answered < 60, "what it had answered is not asked for again"


def test_who_names_the_wrong_place_is_told_so_before_anything_is_made(
    make: Callable[..., Hub], endpoint: Misbehaving
) -> None:
    endpoint.replies = [answer({"predictions": [{"vector": [1.0, 2.0], "model_version": "e5"}]})]
    with pytest.raises((SettingsError, FeaturesAway), match="features"):
        train(make())


def test_nothing_of_an_answer_is_logged(
    make: Callable[..., Hub], endpoint: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.replies = [answer({"predictions": [{"embedding": ["secret of one", 2], "model_version": "e5"}]})]
    with pytest.raises(SettingsError):
        train(make())
    assert "secret of one" not in caplog.text
