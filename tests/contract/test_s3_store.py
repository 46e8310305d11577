"""The S3 store over real HTTP: against moto's server, and against answers that get lost or differ."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from boto3.session import Session

from labelloop.cli.doctor import diagnose
from labelloop.errors import Conflict, NotFound, StoreError, UnsafeStore
from labelloop.loop.process import open_hub
from labelloop.loop.startup import require_safe_store
from labelloop.models.champion import ChampionPointer
from labelloop.models.opening import open_store
from labelloop.models.records import update
from labelloop.models.s3_store import S3Store
from labelloop.models.store import Store
from labelloop.settings import Settings
from support.contest import PROJECT
from support.lossy_proxy import Answer, LossyProxy, lossy_proxy
from support.moto_server import moto_environment, moto_server
from support.project_rules import ProjectRules
from support.servers import free_port
from support.store_rules import StoreRules


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    with moto_server() as address:
        yield "127.0.0.1", int(address.rpartition(":")[2])


@pytest.fixture(scope="module", autouse=True)
def account(server: tuple[str, int]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in moto_environment("http://{}:{}".format(*server)).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def s3(account: None) -> Any:
    return Session().client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(bucket: str, s3: Any) -> Store:
    return S3Store(bucket, "some/prefix/", s3)


@pytest.fixture
def proxy(server: tuple[str, int], bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LossyProxy]:
    with lossy_proxy(*server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


class TestProjectsInABucket(ProjectRules):
    pass


class TestS3Store(StoreRules):
    pass


@pytest.mark.parametrize("address", ["s3://{}", "s3://{}/", "s3://{}/deep/er", "s3://{}/deep/er/"])
def test_objects_lie_below_the_prefix(s3: Any, bucket: str, address: str) -> None:
    store = open_store(address.format(bucket))
    store.write("a/b", b"x")
    key = ("deep/er/" if "deep" in address else "") + "a/b"
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"
    assert list(store.walk("")) == ["a/b"]
    assert store.names("a/") == ["b"]


def test_two_prefixes_of_a_bucket_do_not_meet(bucket: str) -> None:
    one, other = open_store(f"s3://{bucket}/one"), open_store(f"s3://{bucket}/one-more")
    one.write("a", b"x")
    assert list(other.walk("")) == []
    with pytest.raises(NotFound, match=f"a is not in s3://{bucket}/one-more/"):
        other.read("a")


def test_lists_longer_than_a_page_are_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    paths = sorted(f"a/v{number}/claim" for number in range(10))
    for path in paths:
        store.write(path, b"")
    assert list(store.walk("a/")) == paths
    assert store.names("a/") == sorted(f"v{number}" for number in range(10))


def test_foreign_objects_are_not_listed(s3: Any, bucket: str, store: Store) -> None:
    for key in ("some/prefix/a b", "some/prefix/", "some/prefix/x//y", "some/prefix/.hidden"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    store.write("a", b"")
    assert list(store.walk("")) == ["a"]
    assert store.names("") == ["a", "x"]


def test_a_create_whose_answer_was_lost_has_been_done(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    proxy.lost = 1
    store.create("claim", b"mine")
    assert proxy.puts == 2
    assert store.read("claim").content == b"mine"
    with pytest.raises(Conflict):
        store.create("claim", b"mine")


def test_a_swap_whose_answer_was_lost_has_been_done(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    store.create("a", b"1")
    proxy.lost = 1
    store.swap("a", b"2", store.read("a").tag)
    assert (proxy.puts, store.read("a").content) == (3, b"2")


def test_a_fence_whose_answer_was_lost_is_not_given_twice(proxy: LossyProxy, bucket: str) -> None:
    pointer = ChampionPointer(open_store(f"s3://{bucket}"), PROJECT)
    taken = []
    for lost in (1, 0, 1, 0):
        proxy.lost = lost
        taken.append(pointer.take_fence())
    assert taken == sorted(set(taken))
    assert pointer.read().fence == taken[-1]


def test_a_create_that_meets_another_in_flight_is_tried_again(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    proxy.instead = [Answer(409, "ConditionalRequestConflict")] * 2
    store.create("a", b"1")
    assert (proxy.puts, store.read("a").content) == (3, b"1")


def test_a_create_that_never_gets_through_is_an_error_and_no_conflict(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    proxy.instead = [Answer(409, "ConditionalRequestConflict")] * 20
    with pytest.raises(StoreError, match="being written by others all the time") as caught:
        store.create("a", b"1")
    assert not isinstance(caught.value, Conflict)


def test_a_swap_that_meets_another_in_flight_is_a_conflict(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    store.create("a", b"1")
    tag = store.read("a").tag
    proxy.instead = [Answer(409, "ConditionalRequestConflict")]
    with pytest.raises(Conflict, match="a was changed by another process"):
        store.swap("a", b"2", tag)
    proxy.instead = [Answer(409, "ConditionalRequestConflict")]
    update(store, "a", lambda content: (content or b"") + b"2")
    assert store.read("a").content == b"12"


def test_a_short_failure_is_ridden_out(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    proxy.instead = [Answer(503, "SlowDown")]
    store.write("a", b"1")
    assert (proxy.puts, store.read("a").content) == (2, b"1")


def test_denied_access_is_told_with_what_to_allow(proxy: LossyProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}/x")
    steps: list[Callable[[], None]] = [
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        lambda: store.swap("a", b"", "tag"),
    ]
    for step in steps:
        proxy.instead = [Answer(403, "AccessDenied")]
        with pytest.raises(StoreError, match=rf"a cannot be written in s3://{bucket}/x/: access denied.*s3:PutObject"):
            step()


@pytest.mark.parametrize(
    "step",
    [
        lambda store: store.read("a"),
        lambda store: store.write("a", b""),
        lambda store: store.create("a", b""),
        lambda store: store.swap("a", b"", "tag"),
        lambda store: list(store.walk("")),
        lambda store: store.names("a/"),
    ],
)
def test_a_bucket_that_is_not_there_is_named(step: Any) -> None:
    with pytest.raises(StoreError, match="bucket no-such-bucket does not exist: create it, or correct LABELLOOP_STORE"):
        step(open_store("s3://no-such-bucket/x"))


def test_missing_credentials_are_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match=r"a cannot be read in .*NoCredentialsError.*AWS_ACCESS_KEY_ID"):
        open_store(f"s3://{bucket}").read("a")


def test_a_service_that_is_down_is_told_without_its_url(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    with pytest.raises(StoreError, match=r"EndpointConnectionError.*AWS_ENDPOINT_URL_S3") as caught:
        open_store(f"s3://{bucket}").read("a")
    assert str(port) not in str(caught.value)


def test_an_impossible_bucket_is_told() -> None:
    with pytest.raises(StoreError, match="s3://under_score!/: ParamValidationError"):
        open_store("s3://under_score!").read("a")


def test_an_impossible_endpoint_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nowhere")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL_S3 or AWS_DEFAULT_REGION is not valid"):
        open_store("s3://bucket")


def test_a_worker_refuses_a_service_that_passes_over_conditions(proxy: LossyProxy, bucket: str) -> None:
    hub = open_hub(Settings(store=f"s3://{bucket}/loop"))
    require_safe_store(hub)
    proxy.careless = True
    with pytest.raises(UnsafeStore, match="created an object that exists: it passes over conditional writes"):
        require_safe_store(hub)
    broken = replace(hub.settings, weights="/nowhere/a.safetensors")  # so that torch is not waited for
    found = {finding.name: finding for finding in diagnose(open_hub(broken), None)}
    assert not found["store"].ok
    assert "passes over conditional writes" in found["store"].detail


def test_a_worker_does_not_give_up_on_a_service_that_is_down(
    proxy: LossyProxy, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.instead = [Answer(503, "SlowDown")] * 9
    require_safe_store(open_hub(Settings(store=f"s3://{bucket}/loop")))
    assert "whether the store is safe is not known yet" in caplog.text
