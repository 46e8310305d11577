"""Monitoring and Pub/Sub in the stand-in of Google Cloud take and give what Google's do."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from labelloop.types import Json
from support.google import PROJECT, StandIn
from support.google.queue import DEAD, SUBSCRIPTION, TOPIC, EventQueue, annotations

NOW = 1_800_000_000.0
METRIC = "custom.googleapis.com/labelloop/macro_f1"


@pytest.fixture
def clock(google: StandIn) -> list[float]:
    """What Monitoring and Pub/Sub take for the time."""
    told = [NOW]
    google.monitoring.clock = google.pubsub.clock = lambda: told[0]
    return told


def ask(google: StandIn, method: str, path: str, body: Json | None = None, query: Json | None = None) -> Any:
    return requests.request(method, f"{google.url}/{path}", params=query, json=body, timeout=10).json()


# Monitoring.
def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def series(value: Any = 0.5, at: float = NOW, *, metric: str = METRIC, **labels: str) -> Json:
    kind = "int64Value" if isinstance(value, int) else "doubleValue"
    point = {"interval": {"endTime": moment(at)}, "value": {kind: value}}
    return {"metric": {"type": metric, "labels": labels}, "resource": {"type": "global"}, "points": [point]}


def write(google: StandIn, *told: Json) -> Json:
    found: Json = ask(google, "POST", f"v3/projects/{PROJECT}/timeSeries", {"timeSeries": told})
    return found


def test_points_are_kept_by_their_series(google: StandIn, clock: list[float]) -> None:
    assert write(google, series(0.5, project="1"), series(0.7, project="2")) == {}
    clock[0] += 10
    assert write(google, series(0.6, NOW + 10, project="1")) == {}
    assert google.monitoring.points(METRIC, project="1") == [0.5, 0.6]
    (described,) = ask(google, "GET", f"v3/projects/{PROJECT}/metricDescriptors")["metricDescriptors"]
    assert (described["valueType"], described["labels"]) == ("DOUBLE", [{"key": "project"}])
    query = {"interval.startTime": moment(NOW), "interval.endTime": moment(NOW + 60)}
    query["filter"] = f'metric.type="{METRIC}"'
    told = ask(google, "GET", f"v3/projects/{PROJECT}/timeSeries", query=query)
    assert [len(one["points"]) for one in told["timeSeries"]] == [2, 1]
    assert ask(google, "DELETE", f"v3/projects/{PROJECT}/metricDescriptors/{METRIC}") == {}
    assert google.monitoring.points(METRIC) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([series(at=NOW + 4)], "more frequently than the maximum sampling period"),
        ([series(at=NOW - 60)], "Points must be written in order"),
        ([series(at=NOW - 26 * 3600, project="new")], "25h"),
        ([series(at=NOW + 301, project="new")], "5m in the future"),
        ([series(1, at=NOW + 9)], "conflicts with the existing value type (DOUBLE)"),
        ([series(at=NOW + 9), series(at=NOW + 19)], "Duplicate TimeSeries"),
        ([series(metric="labelloop/f1")], "custom.googleapis.com/NAME"),
        ([series(project=str(number)) for number in range(201)], "201 elements"),
        ([{**series(), "resource": {"type": "aws_ec2_instance"}}], "aws_ec2_instance"),
        ([{**series(), "resource": {"type": "generic_task", "labels": {"job": "j"}}}], "Labels of the resource"),
        ([{**series(), "points": series()["points"] * 2}], "exactly one point"),
    ],
    ids=["often", "order", "old", "future", "type", "twice", "name", "many", "resource", "labels", "points"],
)
def test_what_cannot_be_written_is_refused(google: StandIn, clock: list[float], told: list[Json], said: str) -> None:
    write(google, series())
    error = write(google, *told)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert said in error["message"]


def test_what_can_be_written_is_written_beside_what_cannot(google: StandIn, clock: list[float]) -> None:
    error = write(google, series(project="1"), series(at=NOW - 90_001, project="2"))["error"]
    (summary,) = error["details"]
    assert (summary["totalPointCount"], summary["successPointCount"]) == (2, 1)
    assert google.monitoring.points(METRIC) == [0.5]


# Pub/Sub.
@pytest.fixture
def queue(google: StandIn, clock: list[float]) -> str:
    """A subscription to a topic, by its path."""
    ask(google, "PUT", f"v1/{TOPIC}", {})
    ask(google, "PUT", f"v1/{SUBSCRIPTION}", {"topic": TOPIC, "ackDeadlineSeconds": 30})
    return f"v1/{SUBSCRIPTION}"


def pull(google: StandIn, queue: str, most: int = 10) -> list[Json]:
    found: list[Json] = ask(google, "POST", f"{queue}:pull", {"maxMessages": most}).get("receivedMessages", [])
    return found


def test_a_message_comes_again_until_it_is_acknowledged(google: StandIn, queue: str, clock: list[float]) -> None:
    data = base64.b64encode(b"hello").decode()
    assert ask(google, "POST", f"v1/{TOPIC}:publish", {"messages": [{"data": data, "attributes": {"a": "b"}}]})
    (first,) = pull(google, queue)
    assert (first["message"]["data"], first["message"]["attributes"]) == (data, {"a": "b"})
    assert pull(google, queue) == []
    clock[0] += 31
    assert ask(google, "POST", f"{queue}:acknowledge", {"ackIds": [first["ackId"]]}) == {}
    (second,) = pull(google, queue)
    ask(google, "POST", f"{queue}:modifyAckDeadline", {"ackIds": [second["ackId"]], "ackDeadlineSeconds": 0})
    (third,) = pull(google, queue)
    ask(google, "POST", f"{queue}:acknowledge", {"ackIds": [third["ackId"]]})
    google.pubsub.reappear()
    assert (pull(google, queue), google.pubsub.left(SUBSCRIPTION)) == ([], 0)


def test_what_is_taken_too_often_goes_elsewhere(google: StandIn) -> None:
    events = EventQueue(google)
    events.tell(*annotations([7]))
    attempts = []
    for _ in range(6):
        attempts += [one["deliveryAttempt"] for one in pull(google, f"v1/{SUBSCRIPTION}")]
        events.reappear()
    assert attempts == [1, 2, 3, 4, 5]
    assert (events.count(), events.count(DEAD)) == (0, 1)
    (given,) = pull(google, f"v1/{DEAD}")
    assert given["message"]["attributes"]["objectId"] == "cats/7"


def test_what_happens_to_objects_is_told(google: StandIn) -> None:
    EventQueue(google).watch("labels", "cats/")
    upload = f"{google.url}/upload/storage/v1/b/labels/o"
    for name in ("cats/1", "cats/1", "dogs/1"):
        requests.post(upload, b"{}", params={"uploadType": "media", "name": name}, timeout=10).raise_for_status()
    requests.delete(f"{google.url}/storage/v1/b/labels/o/cats%2F1", timeout=10).raise_for_status()
    told = [one["message"] for one in pull(google, f"v1/{SUBSCRIPTION}")]
    assert [(one["attributes"]["eventType"], one["attributes"]["objectId"]) for one in told] == [
        ("OBJECT_FINALIZE", "cats/1"),
        ("OBJECT_DELETE", "cats/1"),
        ("OBJECT_FINALIZE", "cats/1"),
        ("OBJECT_DELETE", "cats/1"),
    ]
    assert told[2]["attributes"]["overwroteGeneration"] == told[0]["attributes"]["objectGeneration"]
    assert json.loads(base64.b64decode(told[0]["data"]))["bucket"] == "labels"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"v1/{SUBSCRIPTION}x:pull", {"maxMessages": 1}, "NOT_FOUND"),
        ("POST", f"v1/{SUBSCRIPTION}:pull", {"maxMessages": 0}, "INVALID_ARGUMENT"),
        ("POST", f"v1/{SUBSCRIPTION}:pull", {"max": 1}, "INVALID_ARGUMENT"),
        ("POST", f"v1/{SUBSCRIPTION}:acknowledge", {"ackIds": ["1"]}, "INVALID_ARGUMENT"),
        ("POST", f"v1/{SUBSCRIPTION}:acknowledge", {"ackIds": []}, "INVALID_ARGUMENT"),
        ("PUT", f"v1/{SUBSCRIPTION}", {"topic": TOPIC}, "ALREADY_EXISTS"),
        ("PUT", f"v1/{SUBSCRIPTION}-2", {"topic": TOPIC, "ackDeadlineSeconds": 5}, "INVALID_ARGUMENT"),
        ("PUT", f"v1/projects/{PROJECT}/topics/1", {}, "INVALID_ARGUMENT"),
        ("POST", f"v1/{TOPIC}:publish", {"messages": [{}]}, "INVALID_ARGUMENT"),
        ("POST", f"v1/{TOPIC}:publish", {"messages": [{"data": "?"}]}, "INVALID_ARGUMENT"),
    ],
)
def test_what_pubsub_does_not_take(
    google: StandIn, queue: str, method: str, path: str, body: Json, status: str
) -> None:
    assert ask(google, method, path, body)["error"]["status"] == status
