"""What Labelbox's menu holds: the types that the settings' trainer can learn, and the endpoints that predict."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.cloud.google.client import Google
from labelloop.cloud.google.hosting import Hosting
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import SettingsError
from labelloop.labelbox.model_types import FIRST_INFERENCE, TYPES
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.menu import asking, look_for_endpoints, menu_of
from labelloop.loop.process import open_hub
from labelloop.loop.startup import ABOUT
from labelloop.loop.worker import make_worker
from labelloop.settings import Settings
from labelloop.trainers.opening import open_trainer
from labelloop.types import ProjectKey
from support.google import LOCATION, PROJECT, StandIn, google_stand_in

from .conftest import MakeHub, of_this_process

NAMES = [one.name for one in TYPES]
PICTURES = ["bounding_box", "image_single_classification", "image_multi_classification"]


def hub_with(folder: Path, **given: object) -> Hub:
    """Make a hub without a Redis: the menu does without."""
    usual: dict[str, object] = {"redis_url": "redis://127.0.0.1:1/0", "model_dir": str(folder)}
    return open_hub(Settings(**{**usual, **given}))  # type: ignore[arg-type]


def names(hub: Hub) -> list[str]:
    return [entry.key for entry in menu_of(hub).entries]


PIPELINE = "sagemaker-pipeline://train?manifest=M"
VERTEX = "vertex-pipeline://p/europe-west4?template=gs://b/p.yaml&manifest=m&output=o"


@pytest.mark.parametrize(
    ("trainer", "offered"),
    [
        ("local", NAMES),
        ("sagemaker-pipeline://labelloop", NAMES),
        ("vertex-job://p/europe-west4", NAMES),
        ("vertex-automl://p/europe-west4", PICTURES),
        ("command:true", NAMES),
        ("command:true?format=coco", ["bounding_box"]),
        ("command:true?format=imagefolder", ["image_single_classification"]),
        ("command:true?format=conll", ["ner"]),
        ("command:true?format=jsonl", ["text_single_classification", "text_multi_classification"]),
        (PIPELINE, NAMES),
        (f"{PIPELINE}&judge=metrics", []),
        (VERTEX, NAMES),
        (f"{VERTEX}&manifest_format=coco", ["bounding_box"]),
    ],
)
def test_a_type_is_offered_where_the_settings_trainer_can_learn_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: str, offered: list[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    menu = menu_of(hub_with(tmp_path, trainer=trainer, aws_role="arn:aws:iam::123456789012:role/x"))

    assert sorted(entry.key for entry in menu.entries) == sorted(offered)
    for one in TYPES:
        if one.name not in offered:
            assert menu.find(one.name) is None
            assert menu.refusal(one.name).startswith(f"{one.name} cannot be trained here: ")
            assert "LABELLOOP_TRAINER" in menu.refusal(one.name)


def test_a_trainer_that_cannot_be_opened_takes_nothing_from_the_menu_for_its_runs_say_so(tmp_path: Path) -> None:
    hub = hub_with(tmp_path, trainer="command:true?format=none-of-ours")
    with pytest.raises(SettingsError):
        open_trainer(hub.settings)

    assert names(hub) == NAMES


def test_no_type_is_offered_where_there_are_workers_and_none_has_torch(make_hub: MakeHub) -> None:
    hub = make_hub()
    assert names(hub) == NAMES  # what comes before there is a worker waits for one
    worker = make_worker(hub)
    worker.register_birth()
    try:
        hub.redis.hset(worker.key, ABOUT, json.dumps({"trains": False, "settings": {}}))
        menu = menu_of(hub)
        assert menu.entries == ()
        assert "ner cannot be trained here: no worker has torch" in menu.refusal("NER")
        assert "There is: nothing" in menu.refusal("x")
        hub.redis.hset(worker.key, ABOUT, json.dumps({"trains": True, "settings": {}}))
        assert names(hub) == NAMES
    finally:
        worker.register_death()  # type: ignore[no-untyped-call]
        worker.connection.close()


def test_an_endpoint_with_a_model_of_its_own_is_an_entry_and_one_that_serves_versions_is_none(tmp_path: Path) -> None:
    hub = hub_with(
        tmp_path,
        endpoint="https://me:hush@models.example/cats?key=hush",
        endpoint_headers="Authorization: Bearer hush",
        allowed_endpoints=(
            "http://gpu:9091",
            "http://gpu:8080/v1?token=hush",
            "vertex://shop/europe-west4/7",
            "http://*/x",
        ),
    )
    found = menu_of(hub)
    inference = [entry for entry in found.entries if entry.endpoint]

    assert [entry.key.rpartition(" (")[0] for entry in inference] == [
        "inference: models.example/cats",
        "inference: gpu:8080/v1",
        "inference: 7",
    ]
    assert [entry.key for entry in found.entries[: len(TYPES)]] == NAMES
    assert found.left_out["endpoint gpu:9091"].startswith("it serves versions")
    assert "hush" not in " ".join([*(entry.key for entry in found.entries), str(found.left_out), str(found)])


def test_an_entry_is_found_by_its_key_and_number_and_is_the_same_in_every_process(tmp_path: Path) -> None:
    given = {"endpoint": "http://gpu:8080/v1", "allowed_endpoints": ("http://gpu:8080/v2",)}
    first, other = menu_of(hub_with(tmp_path, **given)), menu_of(hub_with(tmp_path / "other", **given))

    assert first == other
    for entry in first.entries:
        assert first.find(entry.key.upper()) == first.of_number(entry.number) == entry
        key = ProjectKey.of_model_run("9e3f331a-551b", entry.number)
        assert ProjectKey.parse(str(key)) == key
    last = first.entries[-1]
    assert last.endpoint is not None
    assert last.number >= FIRST_INFERENCE
    assert last.entry.endpoint == last.endpoint.fingerprint
    assert first.find("inference: gpu:8080/v2") is None


def test_an_entry_that_has_gone_is_refused_with_a_sentence(tmp_path: Path) -> None:
    before = menu_of(hub_with(tmp_path, endpoint="http://gpu:8080/v1", classes=("cat",)))
    key, number = before.entries[-1].key, before.entries[-1].number
    after = menu_of(hub_with(tmp_path, endpoint="http://gpu:8080/v1", classes=("cat", "dog")))

    assert after.find(key) is after.of_number(number) is None
    assert "open the menu anew. There is: bounding_box" in after.refusal(key)


def test_what_brings_versions_to_the_endpoint_makes_it_none_that_predicts_by_itself(tmp_path: Path) -> None:
    address = "vertex://shop/europe-west4/7"
    assert names(hub_with(tmp_path, endpoint=address, deployer=address, allowed_endpoints=(address,))) == NAMES
    assert len(names(hub_with(tmp_path, endpoint=address))) == len(NAMES) + 1


def test_an_endpoint_that_is_none_is_left_out_and_named(tmp_path: Path) -> None:
    menu = menu_of(hub_with(tmp_path, allowed_endpoints=("vertex://shop", "http://gpu:8080/v1")))

    assert len(menu.entries) == len(TYPES) + 1
    assert "LABELLOOP_ALLOWED_ENDPOINTS: expected vertex://" in menu.left_out["an allowed endpoint"]


def test_the_settings_of_an_entry_ask_its_endpoint_without_the_headers_of_another(tmp_path: Path) -> None:
    hub = hub_with(
        tmp_path,
        endpoint="http://gpu:8080/v1",
        classes=("cat",),
        endpoint_headers="Authorization: Bearer hush",
        allowed_endpoints=("http://gpu:8080/v2",),
    )
    own, other = (entry.endpoint for entry in menu_of(hub).entries[-2:])
    assert own is not None
    assert other is not None

    assert EndpointSpec.of(asking(hub.settings, own)) == own == EndpointSpec.of(hub.settings)
    assert EndpointSpec.of(asking(hub.settings, other)) == other
    assert (other.address, other.headers, other.classes) == ("http://gpu:8080/v2", (), ())


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with google_stand_in(tmp_path / "google") as made:
        made.use(monkeypatch)
        yield made


def live(folder: Path, google: StandIn, place: str = f"{PROJECT}/{LOCATION}") -> Hub:
    return hub_with(folder, labelbox_vertex=place, vertex_base_url=google.url)


def hosting() -> Hosting:
    return Hosting(Google(PROJECT, LOCATION, wait=lambda _: None))


def deployed(google: StandIn, name: str, title: str = "", dedicated: bool = False) -> None:
    """Make an endpoint with a model that gets its traffic."""
    told = {"displayName": title or name, "dedicatedEndpointEnabled": dedicated}
    made = hosting().create(name, dedicated=dedicated, labels={})
    with google.operations.lock:
        found = google.endpoints.find(f"projects/{PROJECT}/locations/{LOCATION}/endpoints/{made.id}")
        found.deployed["1"] = {"id": "1", "model": f"projects/{PROJECT}/locations/{LOCATION}/models/m"}
        found.change(**told, trafficSplit={"1": 100})


def test_live_endpoints_of_vertex_ai_are_found_by_the_sweep_and_offered_by_a_process_without_credentials(
    tmp_path: Path, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = live(tmp_path, google)
    deployed(google, "cats", "Cats, and\ndogs " + "x" * 80)
    hosting().create("empty", dedicated=False, labels={})
    assert names(hub) == NAMES
    assert look_for_endpoints(hub) == f"1 of vertex://{PROJECT}/{LOCATION} have a model"

    calls = len(google.calls)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "LABELLOOP_VERTEX_BASE_URL"):
        monkeypatch.setenv(name, "/nonexistent")
    found = menu_of(live(tmp_path, google)).entries[-1]
    assert found.endpoint is not None
    assert found.endpoint.address.startswith(f"vertex://{PROJECT}/{LOCATION}/cats")
    assert found.key.startswith("inference: Cats, and dogs xxx")
    assert len(found.key) < 90
    assert len(google.calls) == calls


def test_an_endpoint_that_lost_its_model_goes_and_one_that_cannot_be_asked_stays(
    tmp_path: Path, google: StandIn
) -> None:
    hub = live(tmp_path, google)
    deployed(google, "cats")
    deployed(google, "dogs", dedicated=True)
    look_for_endpoints(hub)
    both = names(hub)
    assert len(both) == len(NAMES) + 2

    google.fail("GET endpoints", "PERMISSION_DENIED")
    assert look_for_endpoints(hub).startswith("failed: ")
    assert names(hub) == both

    with google.operations.lock:
        google.endpoints.find(f"projects/{PROJECT}/locations/{LOCATION}/endpoints/dogs").deployed.clear()
    look_for_endpoints(hub)
    assert names(hub) == both[:-1]


def test_endpoints_of_another_place_or_of_none_are_not_offered(tmp_path: Path, google: StandIn) -> None:
    deployed(google, "cats")
    look_for_endpoints(live(tmp_path, google))

    assert names(live(tmp_path, google, "other/europe-west1")) == NAMES
    assert names(hub_with(tmp_path)) == NAMES
    assert look_for_endpoints(hub_with(tmp_path)) == ""


def test_an_endpoint_that_is_named_twice_is_one_entry(tmp_path: Path, google: StandIn) -> None:
    deployed(google, "cats")
    hub = live(tmp_path, google)
    look_for_endpoints(hub)
    address = f"vertex://{PROJECT}/{LOCATION}/cats"
    twice = open_hub(replace(hub.settings, endpoint=address, allowed_endpoints=(address,)))

    assert len(names(twice)) == len(NAMES) + 1


@pytest.fixture
def sweeping(make_hub: MakeHub, google: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = make_hub(labelbox_vertex=f"{PROJECT}/{LOCATION}", vertex_base_url=google.url)
    yield from of_this_process(made, monkeypatch)


def test_the_sweep_of_a_worker_looks_for_live_endpoints(sweeping: Hub, google: StandIn) -> None:
    deployed(google, "cats")
    assert jobs.sweep()["endpoints"] == f"1 of vertex://{PROJECT}/{LOCATION} have a model"
    assert len(names(sweeping)) == len(NAMES) + 1

    google.fail("GET endpoints", "PERMISSION_DENIED")
    assert jobs.sweep()["endpoints"].startswith("failed: ")
