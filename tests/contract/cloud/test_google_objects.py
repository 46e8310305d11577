"""The folder in Cloud Storage in which this machine and Google Cloud hand each other files."""

from pathlib import Path

import pytest

from labelloop.cloud import base
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.objects import Folder, location_of
from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing, SettingsError
from labelloop.settings import Settings
from support.google import LOCATION, PROJECT, StandIn

READ, WRITE = "storage:GET b/*/o/*", "storage:POST b/*/o"


@pytest.fixture
def folder(google: StandIn) -> base.Folder:
    google.bucket("shop")
    return folder_at("gs://shop/some/where/")


def folder_at(uri: str) -> Folder:
    return Folder(Google(PROJECT, LOCATION, wait=lambda _: None), uri)


def test_what_is_put_is_there_is_listed_and_comes_back(google: StandIn, folder: base.Folder, tmp_path: Path) -> None:
    google.storage.page = 2
    folder.check()
    (tmp_path / "file").write_bytes(b"more")
    assert folder.put("one/a", b"content", "text/plain") == "gs://shop/some/where/one/a"
    assert folder.below("one").put_file("b", tmp_path / "file") == "gs://shop/some/where/one/b"
    folder.put("other", b"not below")
    google.storage.put("shop", "some/where/one/", b"")  # the mark of a folder

    assert google.storage.buckets.get("shop", "some/where/one/a").media_type == "text/plain"
    assert (folder.read("one/a"), folder.has("one/a"), folder.has("one/c")) == (b"content", True, False)
    with pytest.raises(CloudMissing, match=r"gs://shop/some/where/one/c: Google answered 404 \(No such object"):
        folder.read("one/c")
    assert sorted(folder.below("one").fetch(tmp_path / "here")) == ["a", "b"]
    assert (tmp_path / "here" / "b").read_bytes() == b"more"
    assert folder.fetch(tmp_path / "there", ["one/b"]) == ["one/b"]
    folder.below("one").remove()
    assert list(folder.names()) == ["labelloop-check.txt", "other"]
    assert folder_at("gs://shop").has("some/where/other")
    assert "some/where/other" in list(folder_at("gs://shop").names())


def test_a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_written(
    folder: base.Folder, tmp_path: Path
) -> None:
    folder.put("good", b"1")
    folder.put("a/../../b", b"1")
    with pytest.raises(CloudError, match="leads out of its folder: nothing is taken"):
        folder.fetch(tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_what_is_removed_meanwhile_is_no_trouble(google: StandIn, folder: base.Folder) -> None:
    folder.put("a", b"1")
    google.hang_up("storage:DELETE b/*/o/*", after=True)
    folder.remove()
    assert google.storage.names("shop") == []


def test_a_bucket_that_is_not_there_is_named(google: StandIn) -> None:
    with pytest.raises(
        CloudMissing, match=r"gs://nowhere/x/labelloop-check\.txt .*: make the bucket, or correct LABELL"
    ):
        folder_at("gs://nowhere/x").check()


def test_a_bucket_that_keeps_its_objects_is_told(google: StandIn) -> None:
    google.storage.buckets.make("kept", retention=60)
    with pytest.raises(
        CloudDenied, match=r"gs://kept/x/labelloop-check\.txt .*: name a bucket without a retention pol"
    ):
        folder_at("gs://kept/x").check()


@pytest.mark.parametrize("permission", ["storage.objects.create", "storage.objects.get", "storage.objects.list"])
def test_a_permission_that_lacks_is_named(google: StandIn, folder: base.Folder, permission: str) -> None:
    google.deny(permission)

    def use() -> None:
        folder.check()
        list(folder.names())

    with pytest.raises(CloudDenied, match=rf"gs://shop/some/where/.* a role with {permission}"):
        use()


def test_a_failure_is_ridden_out_unless_it_stays(google: StandIn, folder: base.Folder) -> None:
    google.fail(READ, "UNAVAILABLE")
    google.fail(WRITE, "RESOURCE_EXHAUSTED")
    folder.check()
    google.fail(READ, "UNAVAILABLE", times=None)
    with pytest.raises(CloudAway, match="gs://shop/some/where/a: Google answered 503"):
        folder.has("a")


def test_the_folder_is_the_settings_one_else_the_stores() -> None:
    assert location_of(Settings(google_folder="gs://b/one/", store="gs://b/two")) == "gs://b/one"
    assert location_of(Settings(store="gs://b/two")) == "gs://b/two/cloud"
    with pytest.raises(
        SettingsError, match=r"no folder in Cloud Storage .* set LABELLOOP_GOOGLE_FOLDER to gs://bucket"
    ):
        location_of(Settings(store="s3://b/two"))
