"""``/predict``, whatever goes wrong (contract, "Predictions")."""

import json
import logging
import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from benchmarks.trace import round_trips
from labelloop.loop.hub import Hub
from labelloop.types import NO_VERSION, Json
from support.web import CONFIG, MakeHub, announce, client_of

TEXTS = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)


def ask(client: FlaskClient, tasks: list[Any], config: str = CONFIG, **more: Any) -> list[Any]:
    body = {"tasks": tasks, "project": "7.1795187589", "label_config": config, "params": {"context": None}, **more}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200
    assert answer.json is not None
    assert set(answer.json) == {"results"}
    results: list[Any] = answer.json["results"]
    assert len(results) == len(tasks)
    return results


def task(url: object, number: int = 1) -> Json:
    return {"id": number, "data": {"image": url}}


def test_every_picture_gets_a_prediction_of_the_announced_version(client: FlaskClient, hub: Hub, pictures: str) -> None:
    announce(hub, 7, "v3")
    results = ask(client, [task(f"{pictures}/{name}.png") for name in ("a", "bb", "ccc")])
    for item in results:
        assert item["model_version"] == "v3"
        assert 0.5 <= item["score"] <= 1
        (result,) = item["result"]
        assert result["from_name"] == "label"
        assert result["to_name"] == "image"
        assert result["type"] == "choices"
        assert result["value"]["choices"][0] in ("cat", "dog")


def test_calls_of_the_endpoint_and_what_was_there_already_are_counted(make_hub: MakeHub, pictures: str) -> None:
    hub = make_hub(endpoint="fake://?classes=cat,dog&script=down,open")
    announce(hub, 7)
    client = client_of(hub)
    for name in ("a", "b", "b", "b"):
        ask(client, [task(f"{pictures}/{name}.png")])
    told = client.get("/metrics").get_data(as_text=True)
    found = dict(line.rsplit(" ", 1) for line in told.splitlines() if line.startswith("labelloop_"))
    name = hub.endpoint.name
    for outcome in ("failed", "left_alone", "answered"):
        assert found[f'labelloop_endpoint_calls_total{{endpoint="{name}",outcome="{outcome}"}}'] == "1.0"
    assert found[f'labelloop_endpoint_circuit_open{{endpoint="{name}"}}'] == "0.0", "it has answered since"
    assert found['labelloop_cache_lookups_total{outcome="hit"}'] == "1.0"
    assert found['labelloop_cache_lookups_total{outcome="miss"}'] == "3.0"
    assert found['labelloop_predictions_total{outcome="predicted"}'] == "2.0"


def test_texts_predicted_before_are_answered_in_their_order_beside_new_ones(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7)
    texts = [{"id": number, "data": {"text": f"text {number}"}} for number in range(40)]
    first = ask(client, texts, TEXTS)
    again = [*texts[:10], {"id": 90, "data": {"text": "a new one"}}, {"id": 91, "data": {}}, *texts[10:]]
    second = ask(client, again, TEXTS)
    assert second[:10] + second[12:] == first
    assert second[10]
    assert second[11] == []
    told = client.get("/metrics").get_data(as_text=True)
    assert 'labelloop_cache_lookups_total{outcome="hit"} 40.0' in told
    assert 'labelloop_cache_lookups_total{outcome="miss"} 41.0' in told


def test_before_the_first_version_every_task_is_skipped(client: FlaskClient, pictures: str) -> None:
    assert ask(client, [task(f"{pictures}/a.png")] * 3) == [[], [], []]


def test_what_fails_for_one_task_stays_with_that_task(client: FlaskClient, hub: Hub, pictures: str) -> None:
    announce(hub, 7)
    good = task(f"{pictures}/a.png")
    bad: list[Any] = [
        task(f"{pictures}/missing"),
        task("http://127.0.0.1:1/refused.png"),
        task("data:image/png;base64,AAAA"),
        task("gopher://somewhere"),
        task(None),
        task(["a", "list"]),
        {"id": 5, "data": {"text": "no picture"}},
        {"id": 6, "data": None},
        {},
        None,
        "a text",
        17,
        [[]],
    ]
    tasks = [one for pair in zip([good] * len(bad), bad, strict=True) for one in pair]
    results = ask(client, tasks)
    assert all(item["model_version"] == "v1" for item in results[::2])
    assert results[1::2] == [[]] * len(bad)


@pytest.mark.parametrize("step", ["down*", "open*", "late*", "none*"])
def test_an_endpoint_that_fails_skips_every_task(make_hub: MakeHub, pictures: str, step: str) -> None:
    hub = make_hub(endpoint=f"fake://?classes=cat,dog&script={step}")
    announce(hub, 7)
    assert ask(client_of(hub), [task(f"{pictures}/a.png")] * 4) == [[]] * 4


def test_an_endpoint_that_fails_for_half_of_the_tasks(make_hub: MakeHub, pictures: str) -> None:
    hub = make_hub(endpoint="fake://?classes=cat,dog&script=half*")
    announce(hub, 7)
    results = ask(client_of(hub), [task(f"{pictures}/a.png")] * 4)
    assert [bool(item) for item in results] == [True, False, True, False]


@pytest.mark.parametrize("endpoint", ["sagemaker://none", "nonsense", "http://127.0.0.1:1"])
def test_an_endpoint_that_does_not_exist_skips_every_task(make_hub: MakeHub, pictures: str, endpoint: str) -> None:
    hub = make_hub(endpoint=endpoint)
    announce(hub, 7)
    assert ask(client_of(hub), [task(f"{pictures}/a.png")] * 2) == [[], []]


@pytest.mark.parametrize(
    "config",
    [
        "",
        "<View>",
        "no xml",
        "<View/>",
        '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>',
        CONFIG.replace("cat", "horse").replace("dog", "cow"),
        '<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>',
    ],
)
def test_a_label_config_nothing_can_be_predicted_for(client: FlaskClient, hub: Hub, pictures: str, config: str) -> None:
    announce(hub, 7)
    assert ask(client, [task(f"{pictures}/a.png")] * 2, config) == [[], []]


def test_a_class_that_left_the_label_config_gives_way_to_the_best_that_is_left(
    client: FlaskClient, hub: Hub, pictures: str
) -> None:
    announce(hub, 7)
    results = ask(client, [task(f"{pictures}/{'x' * n}.png") for n in range(1, 9)], CONFIG.replace("dog", "bird"))
    assert {item["result"][0]["value"]["choices"][0] for item in results} == {"cat"}
    assert min(item["score"] for item in results) < 0.5 < max(item["score"] for item in results)


@pytest.mark.parametrize("extra_params", [{}, {"threshold": 0.25}])
def test_a_prediction_waits_for_redis_once(
    client: FlaskClient, hub: Hub, pictures: str, extra_params: dict[str, float]
) -> None:
    announce(hub, 7)
    hub.state(hub.project(7)).share(json.dumps(extra_params))
    sent = round_trips(hub.redis)
    (item,) = ask(client, [task(f"{pictures}/a.png")])
    assert item["model_version"] == "v1"
    assert len(sent) == 1, sent


def test_without_redis_predictions_go_on(make_hub: MakeHub, pictures: str) -> None:
    hub = make_hub(redis_url="redis://127.0.0.1:1/0")
    announce(hub, 7)
    results = ask(client_of(hub), [task(f"{pictures}/a.png")] * 2)
    assert [item["model_version"] for item in results] == ["v1", "v1"]


def test_without_its_store_every_task_is_skipped(make_hub: MakeHub, pictures: str) -> None:
    assert ask(client_of(make_hub(store="nonsense://x")), [task(f"{pictures}/a.png")]) == [[]]


def test_after_the_deadline_the_answer_holds_what_is_ready(make_hub: MakeHub, pictures: str) -> None:
    hub = make_hub(predict_deadline=0.000001)
    announce(hub, 7)
    begun = time.monotonic()
    assert ask(client_of(hub), [task(f"{pictures}/a.png")] * 20) == [[]] * 20
    assert time.monotonic() - begun < 5


def test_1500_tasks_in_one_request(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7)
    assert ask(client, [{"id": number, "data": {}} for number in range(1500)]) == [[]] * 1500


def test_no_task_is_no_result(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7)
    assert ask(client, []) == []


def test_interactive_requests_and_their_secrets(
    client: FlaskClient, hub: Hub, pictures: str, caplog: pytest.LogCaptureFixture
) -> None:
    announce(hub, 7)
    params = {"login": "someone", "password": "hunter2", "context": {"result": []}, "tasks": [], "hub": 1, "self": 2}
    with caplog.at_level(logging.DEBUG):
        (item,) = ask(client, [task(f"{pictures}/a.png")], params=params)
    assert item["model_version"] == "v1"
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tasks": None}, "tasks must be a list"),
        ({"tasks": {"id": 1}}, "tasks must be a list, not an object"),
        ({"label_config": None}, "label_config must be text"),
        ({"label_config": ["<View/>"]}, "label_config must be text, not a list"),
        ({"project": None}, "project must be"),
        ({"project": "seven"}, "project must be"),
        ({"project": "7.1.2"}, "project must be"),
        ({"project": -7}, "project must be"),
        ({"project": 0}, "project must be"),
        ({"project": 7.5}, "project must be"),
        ({"project": True}, "project must be"),
        ({"project": {"id": 7}}, "project must be"),
        ({"project": "\u0667"}, "project must be"),
        ({"project": "7/../8"}, "project must be"),
        ({"project": 10**30}, "project must be"),
    ],
)
def test_a_body_of_the_wrong_shape_is_400_with_the_reason(client: FlaskClient, change: Json, reason: str) -> None:
    body = {"tasks": [], "project": "7.1", "label_config": CONFIG, **change}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"].startswith(reason)


@pytest.mark.parametrize("project", ["7.1795187589", "7", 7])
def test_a_project_may_be_named_in_three_ways(client: FlaskClient, hub: Hub, pictures: str, project: object) -> None:
    announce(hub, 7, "v9")
    (item,) = ask(client, [task(f"{pictures}/a.png")], project=project)
    assert item["model_version"] == "v9"


def test_projects_do_not_meet(client: FlaskClient, hub: Hub, pictures: str) -> None:
    announce(hub, 7, "v9")
    assert ask(client, [task(f"{pictures}/a.png")], project="8.1") == [[]]
    answer = client.post("/setup", json={"project": "8.1"})
    assert answer.json == {"model_version": NO_VERSION}
