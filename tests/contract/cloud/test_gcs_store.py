"""The store in Cloud Storage over real HTTP: against its stand-in, and against answers that get lost or differ."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelloop.cli.doctor import diagnose
from labelloop.errors import Conflict, NotFound, StoreError, UnsafeStore
from labelloop.loop.process import open_hub
from labelloop.loop.startup import require_safe_store
from labelloop.models.champion import ChampionPointer
from labelloop.models.gcs_store import GcsStore
from labelloop.models.opening import check_store, open_store
from labelloop.models.records import update
from labelloop.models.store import Store
from labelloop.settings import Settings
from labelloop.sources import cloud_storage
from labelloop.sources.cloud_storage import CloudStorage
from support.contest import PROJECT
from support.google import Call, StandIn
from support.google_wire import account_key, certificate, google_error, service_account, token
from support.misbehaving import answer, misbehaving
from support.project_rules import ProjectRules
from support.servers import free_port
from support.store_rules import StoreRules

WRITE, PART, READ, LIST = "storage:POST b/*/o", "storage:PUT b/*/o", "storage:GET b/*/o/*", "storage:GET b/*/o"
RATE = "The object shop/claim exceeded the rate limit for object mutation operations (create, update, and delete)."
_NUMBERS = itertools.count()


@pytest.fixture
def bucket(google: StandIn) -> str:
    name = f"bucket-{next(_NUMBERS)}"
    google.bucket(name)
    return name


@pytest.fixture
def store(bucket: str) -> Store:
    return store_in(bucket, "some/prefix/")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let files travel in small parts: their length."""
    monkeypatch.setattr(cloud_storage, "PART_BYTES", 262_144)
    return 262_144


def store_in(bucket: str, prefix: str = "") -> GcsStore:
    """Give a store that tries again without a pause."""
    return GcsStore(bucket, prefix, CloudStorage.found(wait=lambda _: None))


def asked(google: StandIn, name: str) -> int:
    return google.calls.count(name)


class TestProjectsInABucket(ProjectRules):
    pass


class TestGcsStore(StoreRules):
    pass


@pytest.mark.parametrize("address", ["gs://{}", "gs://{}/", "gs://{}/deep/er", "gs://{}/deep/er/"])
def test_objects_lie_below_the_prefix(google: StandIn, bucket: str, address: str) -> None:
    store = open_store(address.format(bucket))
    store.write("a/b", b"x")
    assert google.storage.read(bucket, ("deep/er/" if "deep" in address else "") + "a/b") == b"x"
    assert list(store.walk("")) == ["a/b"]
    assert store.names("a/") == ["b"]


def test_two_prefixes_of_a_bucket_do_not_meet(bucket: str) -> None:
    one, other = open_store(f"gs://{bucket}/one"), open_store(f"gs://{bucket}/one-more")
    one.write("a", b"x")
    assert list(other.walk("")) == []
    with pytest.raises(NotFound, match=f"a is not in gs://{bucket}/one-more/"):
        other.read("a")


def test_lists_longer_than_a_page_are_whole(google: StandIn, store: Store) -> None:
    google.storage.page = 3
    paths = sorted(f"a/v{number}/claim" for number in range(10))
    for path in paths:
        store.write(path, b"")
    assert list(store.walk("a/")) == paths
    assert store.names("a/") == sorted(f"v{number}" for number in range(10))
    assert asked(google, LIST) == 8


def test_foreign_objects_are_not_listed(google: StandIn, bucket: str, store: Store) -> None:
    for name in ("some/prefix/a b", "some/prefix/", "some/prefix/x//y", "some/prefix/.hidden"):
        google.storage.put(bucket, name, b"")
    store.write("a", b"")
    assert list(store.walk("")) == ["a"]
    assert store.names("") == ["a", "x"]


def test_a_create_whose_answer_was_lost_has_been_done(google: StandIn, bucket: str) -> None:
    store = store_in(bucket)
    google.hang_up(WRITE, after=True)
    store.create("claim", b"mine")
    assert asked(google, WRITE) == 2
    assert store.read("claim").content == b"mine"
    with pytest.raises(Conflict):
        store.create("claim", b"mine")


def test_a_swap_whose_answer_was_lost_has_been_done(google: StandIn, bucket: str) -> None:
    store = store_in(bucket)
    store.create("a", b"1")
    google.hang_up(WRITE, after=True)
    store.swap("a", b"2", store.read("a").tag)
    assert (asked(google, WRITE), store.read("a").content) == (3, b"2")


def test_a_fence_whose_answer_was_lost_is_not_given_twice(google: StandIn, bucket: str) -> None:
    pointer = ChampionPointer(store_in(bucket), PROJECT)
    taken = []
    for lost in (1, 0, 1, 0):
        if lost:
            google.hang_up(WRITE, after=True)
        taken.append(pointer.take_fence())
    assert taken == sorted(set(taken))
    assert pointer.read().fence == taken[-1]


def test_an_object_that_is_written_too_often_is_written_a_little_later(google: StandIn, bucket: str) -> None:
    store = store_in(bucket)
    google.fail(WRITE, "RESOURCE_EXHAUSTED", RATE, times=5)
    store.create("claim", b"1")
    assert (asked(google, WRITE), store.read("claim").content) == (6, b"1")
    google.fail(WRITE, "RESOURCE_EXHAUSTED", RATE, times=None)
    with pytest.raises(StoreError, match=r"answered 429 .*rate limit.*: too much is asked .*; try again later") as told:
        store.swap("claim", b"2", store.read("claim").tag)
    assert not isinstance(told.value, Conflict)


def test_a_short_failure_is_ridden_out(google: StandIn, bucket: str) -> None:
    store = store_in(bucket)
    google.fail(WRITE)
    store.write("a", b"1")
    assert (asked(google, WRITE), store.read("a").content) == (2, b"1")
    google.fail(LIST, "INTERNAL")
    assert list(store.walk("")) == ["a"]


def test_a_file_goes_up_in_parts_and_goes_on_where_it_broke_off(
    google: StandIn, bucket: str, parts: int, tmp_path: Path
) -> None:
    content = bytes(range(251)) * 4000  # of no period that a part has
    (tmp_path / "here").write_bytes(content)
    store = store_in(bucket)
    google.hang_up(PART)
    google.hang_up(PART, after=True)
    google.fail(PART)
    store.upload("big", tmp_path / "here")
    assert google.storage.read(bucket, "big") == content
    assert (asked(google, WRITE), asked(google, PART)) == (1, -(-len(content) // parts) + 3)


def test_a_part_that_is_only_taken_half_goes_on_there_and_to_no_host_that_an_answer_names(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").write_bytes(b"x" * (parts + 1))
    begun = answer({}, headers="Location: http://127.0.0.2:9/upload/storage/v1/b/shop/o?upload_id=1\r\n")
    half = answer({}, 308, f"Range: bytes=0-{parts // 2 - 1}\r\n")
    with misbehaving(begun, answer({}, 308), half, answer({})) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        store_in("shop").upload("big", tmp_path / "here")
        sent = [(request.line.split()[1], request.headers["content-range"]) for request in server.requests[1:]]
        server.replies[:] = [begun, answer({}, 308)]
        with pytest.raises(StoreError, match="it takes none of what is sent of a file"):
            store_in("shop").upload("big", tmp_path / "here")
    session, size = "/upload/storage/v1/b/shop/o?upload_id=1", parts + 1
    first = (session, f"bytes 0-{parts - 1}/{size}")
    assert sent == [first, first, (session, f"bytes {parts // 2}-{size - 1}/{size}")]


def test_an_upload_that_google_has_forgotten_begins_again(
    google: StandIn, bucket: str, parts: int, tmp_path: Path
) -> None:
    (tmp_path / "here").write_bytes(b"x" * (2 * parts))
    google.storage.put(bucket, "big", b"older")
    google.before(PART, lambda _: google.storage.forget_uploads())
    store_in(bucket).upload("big", tmp_path / "here")
    assert (asked(google, WRITE), len(google.storage.read(bucket, "big"))) == (2, 2 * parts)
    google.before(PART, lambda _: google.storage.forget_uploads(), times=None)
    with pytest.raises(StoreError):
        store_in(bucket).upload("big", tmp_path / "here")
    assert asked(google, WRITE) == 5


def test_a_file_that_is_cut_while_it_goes_up_leaves_the_older_object(
    google: StandIn, bucket: str, parts: int, tmp_path: Path
) -> None:
    (tmp_path / "here").write_bytes(b"x" * (2 * parts))
    google.storage.put(bucket, "big", b"older")

    def cut(_: Call) -> None:
        (tmp_path / "here").write_bytes(b"")

    google.before(PART, cut)
    with pytest.raises(OSError, match="became shorter"):
        store_in(bucket).upload("big", tmp_path / "here")
    assert google.storage.read(bucket, "big") == b"older"


def test_a_file_comes_down_in_parts_and_goes_on_where_it_broke_off(
    google: StandIn, bucket: str, parts: int, tmp_path: Path
) -> None:
    content = bytes(range(251)) * 4000
    google.storage.put(bucket, "big", content)
    google.after(READ, lambda _: google.hang_up(READ))  # the second part
    store_in(bucket).download("big", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == content
    assert asked(google, READ) == -(-len(content) // parts) + 1


def test_a_file_whose_object_is_replaced_meanwhile_is_of_one_of_both(
    google: StandIn, bucket: str, parts: int, tmp_path: Path
) -> None:
    google.storage.put(bucket, "big", b"a" * (2 * parts))
    google.after(READ, lambda _: google.storage.put(bucket, "big", b"b" * (parts + 1)))
    store_in(bucket).download("big", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"b" * (parts + 1)


def test_an_empty_object_comes_down(google: StandIn, bucket: str, tmp_path: Path) -> None:
    google.storage.put(bucket, "none", b"")
    store_in(bucket).download("none", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b""


STEPS: list[Callable[[Store], object]] = [
    lambda store: store.read("a"),
    lambda store: store.write("a", b""),
    lambda store: store.create("a", b""),
    lambda store: store.swap("a", b"", "1"),
    lambda store: list(store.walk("")),
    lambda store: store.names("a/"),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_bucket_that_is_not_there_is_named(google: StandIn, step: Callable[[Store], object]) -> None:
    with pytest.raises(StoreError, match="bucket no-such-bucket does not exist: create it, or correct LABELLOOP_STORE"):
        step(open_store("gs://no-such-bucket/x"))


@pytest.mark.parametrize(
    ("permission", "number", "verb"),
    [("get", 0, "a cannot be read"), ("create", 2, "a cannot be written"), ("list", 4, "the store cannot be listed")],
)
def test_denied_access_is_told_with_what_to_allow(
    google: StandIn, bucket: str, permission: str, number: int, verb: str
) -> None:
    google.deny(f"storage.objects.{permission}")
    told = rf"{verb} in gs://{bucket}/x/: Google answered 403 .*does not have storage\.objects\.{permission} access"
    with pytest.raises(
        StoreError, match=rf"{told}.* a role with storage\.objects\.{permission}; roles/storage\.objectU"
    ):
        STEPS[number](open_store(f"gs://{bucket}/x"))


def test_a_bucket_in_which_nothing_may_be_replaced_is_told(google: StandIn, bucket: str) -> None:
    """Who may only create objects passes the first step, as where uniform access gives no more than that."""
    google.deny("storage.objects.delete")
    with pytest.raises(StoreError, match=r"a role with storage\.objects\.delete; roles/storage\.objectUser on bucket"):
        check_store(open_store(f"gs://{bucket}"))


def test_a_bucket_with_a_retention_lock_is_told(google: StandIn) -> None:
    google.storage.buckets.make("kept", retention=86_400)
    with pytest.raises(
        StoreError, match=r"403 retentionPolicyNotMet .*: name a bucket without a retention policy, also"
    ):
        check_store(open_store("gs://kept"))


def test_an_impossible_bucket_is_told() -> None:
    with pytest.raises(StoreError, match="gs://Under!score"):
        open_store("gs://Under!score")


def test_a_service_that_is_down_is_told_without_its_url(google: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{port}")
    with pytest.raises(StoreError, match=r"Google could not be reached .*STORAGE_EMULATOR_HOST") as caught:
        store_in("shop").read("a")
    assert str(port) not in str(caught.value)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "ftp://nowhere")
    with pytest.raises(StoreError, match="no known form: 'ftp://nowhere'"):
        open_store("gs://shop")


class TestIdentity:
    """Over TLS, as Google is asked: there are tokens."""

    def test_a_service_account_that_was_revoked_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trusted, context = certificate(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        revoked = answer({"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, 400)
        with (
            misbehaving(token("hush"), revoked) as tokens,
            misbehaving(answer(b"x"), google_error(401, "UNAUTHENTICATED"), tls=context) as server,
        ):
            account = service_account(tmp_path, account_key(), tokens.address)
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
            store = store_in("shop")
            assert store.read("a").content == b"x"
            assert server.requests[0].headers["authorization"] == "Bearer hush"
            with pytest.raises(
                StoreError, match=r"a cannot be read .*no access token .* renew the service acc"
            ) as told:
                store.read("a")
            assert "hush" not in str(told.value)

    def test_missing_credentials_are_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
        with pytest.raises(StoreError, match=r"a cannot be read in .*no Google credentials were found"):
            open_store("gs://shop").read("a")


def test_a_worker_refuses_a_service_that_passes_over_conditions(google: StandIn, bucket: str) -> None:
    hub = open_hub(Settings(store=f"gs://{bucket}/loop"))
    require_safe_store(hub)
    google.storage.buckets.careless = True
    with pytest.raises(UnsafeStore, match=r"created an object that exists: .*ifGenerationMatch of Cloud Storage"):
        require_safe_store(hub)
    broken = replace(hub.settings, weights="/nowhere/a.safetensors")  # so that torch is not waited for
    found = {finding.name: finding for finding in diagnose(open_hub(broken), None)}
    assert not found["store"].ok
    assert "passes over conditional writes" in found["store"].detail


def test_a_worker_does_not_give_up_on_a_service_that_is_down(
    google: StandIn, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("labelloop.loop.hub.open_store", lambda _: store_in(bucket))
    google.fail("storage", times=None)
    require_safe_store(open_hub(Settings(store=f"gs://{bucket}/loop")))
    assert "whether the store is safe is not known yet" in caplog.text


def test_no_update_of_many_is_lost_where_google_slows_them_down(google: StandIn, bucket: str) -> None:
    store = store_in(bucket)
    for _ in range(4):
        google.fail(WRITE, "RESOURCE_EXHAUSTED", RATE, times=2)
        update(store, "n", lambda content: str(int(content or b"0") + 1).encode())
    assert store.read("n").content == b"4"
    assert asked(google, WRITE) == 12


def test_the_check_names_each_step_that_fails(google: StandIn, bucket: str) -> None:
    steps: list[Any] = [(WRITE, "written"), (READ, "read")]
    for call, verb in steps:
        google.mend()
        google.fail(call, "FAILED_PRECONDITION", "no", times=None)
        with pytest.raises(StoreError, match=rf"labelloop-check/object cannot be {verb} in gs://{bucket}/: .* 400 "):
            check_store(store_in(bucket))
