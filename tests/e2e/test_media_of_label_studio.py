"""Pictures that only Label Studio can give: uploads, local files, and buckets of its storages."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from boto3.session import Session

from labelloop.demo.label_studio import LabelStudio
from labelloop.errors import AddressRefused, MediaError
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.studio.client import Studio
from labelloop.studio.task_files import TaskFiles
from labelloop.types import TaskKey
from support.moto_server import moto_server

pytestmark = pytest.mark.studio

PICTURE = b"not quite a picture"


@pytest.fixture
def reader(studio: Studio) -> Iterator[Callable[..., Media]]:
    with ExitStack() as stack:

        def make(**settings: Any) -> Media:
            made = Settings(**settings)
            return stack.enter_context(closing(Media(made, TaskFiles.of(studio, made))))

        yield make


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 that this process has no credentials for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    with moto_server() as address:
        client: Any = Session("key", "hush", region_name="us-east-1").client("s3", endpoint_url=address)
        client.create_bucket(Bucket="pictures")
        client.put_object(Bucket="pictures", Key="a b.png", Body=PICTURE)
        client.close()
        yield address


def connect_bucket(label_studio: LabelStudio, project: int, endpoint: str, *, presign: bool) -> None:
    storage = {
        "project": project,
        "bucket": "pictures",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "hush",
        "region_name": "us-east-1",
        "s3_endpoint": endpoint,
        "presign": presign,
        "use_blob_urls": True,
    }
    label_studio.request("POST", "/api/storages/s3", json=storage)


def only_task(studio: Studio, project: int) -> tuple[str, TaskKey]:
    [task] = studio.tasks(project)
    return task["data"]["image"], TaskKey(project, task["id"])


def test_uploaded_pictures_are_read_with_the_token(
    studio: Studio, label_studio: LabelStudio, project: int, reader: Callable[..., Media]
) -> None:
    label_studio.import_pictures(project, {"a b.png": PICTURE})
    url, task = only_task(studio, project)
    assert url.startswith(f"/data/upload/{project}/")
    assert reader().read(url, task) == PICTURE
    assert reader().read(label_studio.url + url, task) == PICTURE
    with pytest.raises(MediaError, match=r"answered 500\. Label Studio answers so for a file that is gone"):
        reader().read(f"/data/upload/{project}/missing.png", task)


def test_local_files_are_read_with_the_token(
    label_studio: LabelStudio, project: int, reader: Callable[..., Media]
) -> None:
    folder = label_studio.files / "pictures"
    folder.mkdir()
    (folder / "ä b.png").write_bytes(PICTURE)
    label_studio.request(
        "POST", "/api/storages/localfiles", json={"project": project, "path": str(folder), "use_blob_urls": True}
    )
    assert reader().read("/data/local-files/?d=pictures/ä b.png", TaskKey(project, 1)) == PICTURE
    with pytest.raises(MediaError, match="its server answered"):
        reader().read("/data/local-files/?d=../label_studio.sqlite3", TaskKey(project, 1))


@pytest.mark.parametrize("presign", [True, False], ids=["by link", "by proxy"])
def test_a_bucket_is_read_with_label_studios_credentials(
    studio: Studio, label_studio: LabelStudio, project: int, reader: Callable[..., Media], s3: str, presign: bool
) -> None:
    connect_bucket(label_studio, project, s3, presign=presign)
    label_studio.import_tasks(project, [{"image": "s3://pictures/a b.png"}])
    url, task = only_task(studio, project)
    assert url == "s3://pictures/a b.png"
    assert reader(allow_private_addresses=True).read(url, task) == PICTURE
    with pytest.raises(MediaError, match=r"LABELLOOP_BUCKETS.*Through Label Studio: its server answered 404"):
        reader(allow_private_addresses=True).read("s3://another/a.png", task)


def test_a_link_into_the_private_network_is_refused_even_from_label_studio(
    studio: Studio, label_studio: LabelStudio, project: int, reader: Callable[..., Media], s3: str
) -> None:
    connect_bucket(label_studio, project, s3, presign=True)
    label_studio.import_tasks(project, [{"image": "s3://pictures/a b.png"}])
    with pytest.raises(AddressRefused, match="LABELLOOP_ALLOW_PRIVATE_ADDRESSES"):
        reader().read(*only_task(studio, project))
