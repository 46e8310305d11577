"""The folder in S3 in which this machine and AWS hand each other files."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelloop.cloud import objects
from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.objects import Folder, location_of
from labelloop.cloud.objects import for_each
from labelloop.errors import CloudError, CloudMissing, SettingsError
from labelloop.settings import Settings
from support.moto_server import moto_environment, moto_server

REGION = "eu-west-1"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with moto_server() as found:
        yield found


@pytest.fixture
def account(address: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    for name, value in moto_environment(address).items():
        monkeypatch.setenv(name, value)
    return Account(REGION)


def folder_of(account: Account, bucket: str, region: str = REGION) -> Folder:
    Account(region).client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    return Folder(account, f"s3://{bucket}/some/where/")


def test_what_is_put_is_there_is_listed_and_comes_back(account: Account, tmp_path: Path) -> None:
    folder = folder_of(account, "whole")
    folder.check()
    (tmp_path / "file").write_bytes(b"more")
    assert folder.put("one/a", b"content") == "s3://whole/some/where/one/a"
    assert folder.below("one").put_file("b", tmp_path / "file") == "s3://whole/some/where/one/b"
    folder.put("other", b"not below")

    assert (folder.read("one/a"), folder.has("one/a"), folder.has("one/c")) == (b"content", True, False)
    with pytest.raises(CloudMissing, match=r"s3://whole/some/where/one/c"):
        folder.read("one/c")
    assert sorted(folder.below("one").fetch(tmp_path / "here")) == ["a", "b"]
    assert (tmp_path / "here" / "b").read_bytes() == b"more"
    folder.below("one").remove()
    assert sorted(folder.names()) == ["labelloop-check.txt", "other"]


def test_a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_written(
    account: Account, tmp_path: Path
) -> None:
    folder = folder_of(account, "outside")
    folder.put("good", b"1")
    folder.put("a/../../b", b"1")
    with pytest.raises(CloudError, match="leads out of its folder: nothing is taken"):
        folder.fetch(tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_any_number_of_objects_is_removed_and_what_cannot_be_is_said(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelloop.cloud.aws.objects._REMOVED", 2)
    folder = folder_of(account, "many")
    for name in ("a", "b", "c", "d", "e"):
        folder.put(f"these/{name}", b"1")
    folder.put("another", b"1")
    folder.below("these").remove()
    assert list(folder.names()) == ["another"]
    refused = {"Errors": [{"Key": "some/where/another", "Code": "AccessDenied", "Message": "it is locked"}]}
    monkeypatch.setattr(account.client("s3"), "delete_objects", lambda **_: refused)
    with pytest.raises(CloudError, match="s3://many/some/where/another could not be removed: AccessDenied it is lock"):
        folder.remove()


def test_a_bucket_of_another_region_and_one_that_is_not_there_are_told_apart(account: Account) -> None:
    with pytest.raises(CloudError, match="bucket abroad is in eu-central-1, and SageMaker in eu-west-1 takes"):
        folder_of(account, "abroad", "eu-central-1").check()
    with pytest.raises(CloudMissing, match=r"bucket nowhere: .*: make the bucket, or correct LABELLOOP_AWS_LOCATION"):
        Folder(account, "s3://nowhere/x").check()


def test_the_folder_is_the_settings_one_else_the_stores() -> None:
    assert location_of(Settings(aws_location="s3://b/one/", store="s3://b/two")) == "s3://b/one"
    assert location_of(Settings(store="s3://b/two")) == "s3://b/two/cloud"
    with pytest.raises(SettingsError, match="LABELLOOP_AWS_LOCATION"):
        location_of(Settings())


def test_what_fails_leaves_out_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    ended = threading.Event()

    class Threads(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait and not cancel_futures, cancel_futures=cancel_futures)
            ended.set()

    def do(name: str) -> None:
        begun.append(name)
        if name == "0":
            raise CloudError(name)
        assert ended.wait(60)

    monkeypatch.setattr(objects, "ThreadPoolExecutor", Threads)

    with pytest.raises(CloudError, match="0"):
        for_each(do, map(str, range(1000)))
    assert len(begun) < 1000


def test_who_hears_how_much_is_done_may_end_it() -> None:
    heard: list[int] = []

    def tell(done: int) -> None:
        heard.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_each(str, map(str, range(1000)), tell)
    assert heard == [1, 2, 3]
