"""Label Studio writes annotations to S3 and takes pictures from there; S3 tells the loop, which does what follows."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from labelloop.demo.label_studio import LabelStudio
from labelloop.environment import environment_of
from labelloop.loop import jobs
from labelloop.loop.cloud_events import read_events
from labelloop.loop.hub import Hub
from labelloop.loop.process import process_hub
from labelloop.loop.project_registry import confirmed_project, remember_project
from labelloop.loop.redis_client import as_text, key_of
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.status import project_status
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.types import ProjectKey
from support.annotating import choice, draft, skip, submit
from support.aws import StandIn, aws_stand_in
from support.aws.queue import QUEUE, EventQueue

pytestmark = pytest.mark.studio

BUCKET = "loop"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with aws_stand_in(tmp_path / "aws") as made:
        made.use(monkeypatch)
        yield made


@pytest.fixture
def queue(aws: StandIn) -> EventQueue:
    return EventQueue(aws)


@pytest.fixture
def s3(queue: EventQueue) -> Any:
    """A bucket with one picture, whose changes are told."""
    client = queue.watch(BUCKET)
    client.put_object(Bucket=BUCKET, Key="pictures/1.png", Body=picture(1))
    return client


def picture(number: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def hub(label_studio: LabelStudio, tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """What jobs in this process work with."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    settings = Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
        redis_url=server.url,
        model_dir=str(tmp_path),
        endpoint="fake://?classes=cat,dog",
        events=QUEUE,
        allow_private_addresses=True,
        weights="none",
    )
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    process_hub.cache_clear()
    yield process_hub()
    process_hub().redis.close()
    process_hub().tool.close()
    process_hub().media.close()
    process_hub.cache_clear()
    server.stop()


@pytest.fixture
def key(label_studio: LabelStudio, project: int, aws: StandIn, hub: Hub) -> ProjectKey:
    """The project, with its storages and a champion."""
    account = {"aws_access_key_id": "key", "aws_secret_access_key": "hush", "region_name": "eu-west-1"}
    common = account | {"project": project, "bucket": BUCKET, "s3_endpoint": aws.url}
    target = common | {"prefix": "annotations", "can_delete_objects": True}
    label_studio.request("POST", "/api/storages/export/s3", json=target)
    label_studio.request("POST", "/api/storages/s3", json=common | {"prefix": "pictures/", "use_blob_urls": True})
    found = confirmed_project(hub, project)[0]
    remember_project(hub, found, None)
    fence = hub.pointer(found).take_fence()
    hub.pointer(found).promote("v1", fence)
    hub.pointer(found).announce("v1", fence)
    return found


def changed(hub: Hub, key: ProjectKey) -> list[str]:
    return sorted(as_text(name) for name, _ in hub.redis.zscan_iter(key_of(key, "changed")))


def trouble(hub: Hub, key: ProjectKey) -> str:
    return project_status(hub, key).trouble


def test_labels_and_data_in_s3_go_round(
    label_studio: LabelStudio, studio: Studio, hub: Hub, key: ProjectKey, s3: Any, queue: EventQueue
) -> None:
    def ask(method: str, path: str, body: object = None) -> Any:
        return label_studio.request(method, path, json=body)

    def written() -> list[str]:
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="annotations/").get("Contents", [])
        return [one["Key"].removeprefix("annotations/") for one in listed]

    # A storage that is seen first is synced; then what S3 tells of is.
    assert "1 of data" in read_events(hub)
    assert jobs.prelabel(str(key)) == "1 tasks pre-annotated with v1, 0 left out"
    for number in (2, 3):
        s3.put_object(Bucket=BUCKET, Key=f"pictures/{number}.png", Body=picture(number))
    assert "2 of data" in read_events(hub)
    assert jobs.prelabel(str(key)) == "2 tasks pre-annotated with v1, 0 left out"
    tasks = sorted(studio.tasks(key.id, fields=("id", "data")), key=lambda task: task["id"])
    assert [task["data"]["image"] for task in tasks] == [f"s3://{BUCKET}/pictures/{number}.png" for number in (1, 2, 3)]

    first, second, third = (task["id"] for task in tasks)
    draft(label_studio, first, "cat")
    assert read_events(hub) == "none"  # a draft is not written
    made, skipped = submit(label_studio, first, "cat"), skip(label_studio, second)
    assert written() == sorted([str(made), str(skipped)])
    content = json.loads(s3.get_object(Bucket=BUCKET, Key=f"annotations/{made}")["Body"].read())
    assert (content["id"], content["task"]["id"], content["result"][0]["value"]) == (
        made,
        first,
        choice("cat")["value"],
    )
    assert read_events(hub) == "2 of labels"
    assert changed(hub, key) == sorted([f"a{made}", f"a{skipped}"])

    ask("PATCH", f"/api/annotations/{made}/", {"result": [choice("dog")]})
    ask("DELETE", f"/api/annotations/{skipped}/")
    assert written() == [str(made)]
    assert read_events(hub) == "2 of labels"
    assert changed(hub, key) == sorted([f"a{made}", f"a{skipped}"])

    # One that is taken back to a draft is deleted.
    ask("POST", f"/api/annotations/{made}/convert-to-draft", {})
    assert written() == []
    assert read_events(hub) == "1 of labels"
    # Imported ones are not written until the storage is synced: then all are, anew.
    known = submit(label_studio, third, "cat")
    imported = {"data": {"image": "s3://loop/pictures/3.png"}, "annotations": [{"result": [choice("cat")]}]}
    label_studio.import_tasks(key.id, [imported])
    assert read_events(hub) == "1 of labels"
    assert written() == [str(known)]
    [target] = ask("GET", f"/api/storages/export/s3?project={key.id}")
    assert ask("POST", f"/api/storages/export/s3/{target['id']}/sync", {})["status"] == "completed"
    assert read_events(hub) == "2 of labels"
    assert queue.count() == 0


def test_what_label_studio_cannot_take_in_is_told(
    label_studio: LabelStudio, hub: Hub, key: ProjectKey, s3: Any, queue: EventQueue
) -> None:
    [source] = label_studio.request("GET", f"/api/storages/s3/?project={key.id}")
    label_studio.request("PATCH", f"/api/storages/s3/{source['id']}", json={"use_blob_urls": False})
    jobs.prelabel(str(key))
    # Pictures that are to be lists of tasks: an answer that all is well, with a status.
    assert "s3://loop/pictures could not be taken in: Label Studio could not sync" in trouble(hub, key)

    s3.put_object(Bucket=BUCKET, Key="pictures/2.png", Body=picture(2))
    read_events(hub)
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"pictures/{number}.png"} for number in (1, 2)]})
    jobs.prelabel(str(key))
    # A prefix below which there is nothing, as where it may not look: an HTTP 500.
    assert "answered 500 to POST /api/storages" in trouble(hub, key)
