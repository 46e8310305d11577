"""A listing's pictures are fetched from wherever they are, each once ever; what cannot be had is said."""

import hashlib
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from boto3.session import Session
from PIL import Image

from labelloop.data.listing import Listing, Record
from labelloop.data.picture_cache import PictureCache
from labelloop.data.split import splits
from labelloop.errors import ManifestError, MediaError, TooLarge, Transient
from labelloop.run.context import Labeled, Missing
from labelloop.run.fetch import TRIES, InputFetcher, patiently, too_many
from labelloop.run.source import fetch_listing, open_listing
from labelloop.settings import Settings
from labelloop.sources.google import GoogleObjects
from labelloop.sources.reader import READERS, Reader
from labelloop.types import SPANS, Item, LeftOut, ProjectKey
from support.misbehaving import Reply, answer, misbehaving
from support.moto_server import moto_environment, moto_server
from support.picture_server import PictureServer, picture_server
from support.servers import free_port


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 255 - number)).save(buffer, "PNG")
    return buffer.getvalue()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SETTINGS = Settings(allow_private_addresses=True)


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with picture_server({f"/{number}.png": picture(number) for number in range(30)}) as served:
        yield served


@pytest.fixture
def cache(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "cache")


def listing(server: PictureServer, count: int, **changes: Any) -> Listing:
    records = (Record(f"{server.address}/{at}.png", ("cat" if at % 2 else "dog",), at + 1) for at in range(count))
    return Listing.of(replace(record, **changes) for record in records)


def fetched(listing: Listing, cache: PictureCache, settings: Settings = SETTINGS, **options: Any) -> Labeled:
    """Fetch without waiting between two tries."""
    return fetch_listing(listing, cache, settings, lambda *_: None, wait=lambda _: None, **options)


def test_every_picture_lies_in_the_cache_under_its_content(server: PictureServer, cache: PictureCache) -> None:
    seen: list[tuple[str, int, int]] = []
    found = fetch_listing(listing(server, 30), cache, SETTINGS, lambda *step: seen.append(step))

    assert [(item.task, item.content) for item in found.manifest.items] == [
        (at + 1, sha(picture(at))) for at in range(30)
    ]
    assert all(cache.path(item.content).read_bytes() == picture(item.task - 1) for item in found.manifest.items)
    assert found.manifest.project == ProjectKey("local", 1)
    assert (found.manifest.classes, found.sides) == (("cat", "dog"), {})
    assert seen == [("pictures", done, 30) for done in range(1, 31)]


def test_a_second_run_downloads_nothing(server: PictureServer, cache: PictureCache) -> None:
    before = fetched(listing(server, 30), cache)
    server.asked.clear()
    assert fetched(listing(server, 30), cache).manifest == before.manifest
    assert server.asked == []


def test_what_the_cache_has_by_content_is_fetched_from_nowhere(server: PictureServer, cache: PictureCache) -> None:
    cache.add(picture(1))
    records = (Record("", ("cat",), 1, content=sha(picture(1))), Record("", ("dog",), 2, content=sha(picture(2))))
    found = fetched(Listing.of(records), cache)
    assert [item.task for item in found.manifest.items] == [1]
    assert "is not on this machine and its manifest names no address" in found.manifest.left_out[0].reason


def test_texts_and_files_come_in_the_order_of_their_records(cache: PictureCache) -> None:
    def read(record: Record) -> bytes:
        if record.uri == "gone":
            raise MediaError("there is none")
        return picture(int(record.uri))

    records: list[Record | LeftOut] = [Record("1", ("cat",), 1), Record("", ("dog",), 2, text="3.5")]
    records += [LeftOut(3, "skipped"), Record("gone", ("dog",), 4), Record("5", ("dog",), 5)]
    missing, fetcher = Missing(), InputFetcher(read, cache, ProjectKey("shop", 3), lambda _: None)
    found = [each for _, each in fetcher.fetch(records, 5, lambda *_: None, missing)]
    assert found[:3] == [Item(1, sha(picture(1)), ("cat",)), Item.of_text(2, "3.5", ("dog",)), LeftOut(3, "skipped")]
    assert [each.task for each in found] == [1, 2, 3, 4, 5]
    assert (missing.count, missing.first[0].task) == (1, 4)


def test_content_that_is_not_what_the_source_says_is_left_out(server: PictureServer, cache: PictureCache) -> None:
    records = (*listing(server, 2).records, Record(f"{server.address}/3.png", ("cat",), 3, content=sha(b"other")))
    for _ in range(2):
        found = fetched(Listing.of(records), cache)
        assert [out.task for out in found.manifest.left_out] == [3]
        assert f"is not what the source says ({sha(b'other')})" in found.manifest.left_out[0].reason


def test_corrupt_pictures_are_left_out_with_the_reason(server: PictureServer, cache: PictureCache) -> None:
    server.files["/1.png"] = picture(1)[:45]
    server.files["/2.png"] = b"<html>log in</html>"
    found = fetched(listing(server, 4), cache)
    assert [item.task for item in found.manifest.items] == [1, 4]
    reasons = [out.reason for out in found.manifest.left_out]
    assert re.fullmatch(r"http://.*/1\.png: not a readable picture \(45 bytes\): .+", reasons[0])
    assert "/2.png: it is an HTML page, perhaps a login page: " in reasons[1]
    assert reasons[1].endswith("not a readable picture (19 bytes): it is of no known format")


def test_a_server_that_stumbles_is_asked_again(server: PictureServer, cache: PictureCache) -> None:
    stumbles = {f"/{at}.png": 3 for at in range(10)}
    lock = threading.Lock()

    def answer(path: str) -> tuple[int, bytes] | None:
        with lock:
            stumbles[path] -= 1
            return (503, b"later") if stumbles[path] >= 0 else None

    server.answer = answer
    assert len(fetched(listing(server, 10), cache).manifest.items) == 10


def test_a_few_pictures_may_be_missing(server: PictureServer, cache: PictureCache) -> None:
    server.answer = lambda path: (500, b"") if path == "/1.png" else (404, b"") if path == "/2.png" else None
    found = fetched(listing(server, 10), cache)
    assert [out.task for out in found.manifest.left_out] == [2, 3]
    assert (found.missing.count, found.missing.first) == (2, list(found.manifest.left_out))
    assert server.asked.count("/2.png") == 1, "what is not there is not asked for again"
    assert server.asked.count("/1.png") >= TRIES


def test_of_many_missing_pictures_the_first_are_named_and_all_counted(
    server: PictureServer, cache: PictureCache
) -> None:
    many = listing(server, 30)
    many = replace(many, records=tuple(replace(many.records[at % 30], task=at) for at in range(1, 61)))
    server.answer = lambda path: (404, b"") if path in ("/1.png", "/2.png", "/3.png") else None
    found = fetched(many, cache)
    assert (found.missing.count, [out.task for out in found.missing.first]) == (6, [1, 2, 3])
    assert [out.task for out in found.manifest.left_out] == [1, 2, 3, 31, 32, 33]


def test_when_too_many_are_missing_the_run_stops_at_once_with_the_first_reason(
    server: PictureServer, cache: PictureCache
) -> None:
    many = listing(server, 30)
    many = replace(many, records=tuple(replace(many.records[at % 30], task=at) for at in range(1, 2001)))
    server.answer = lambda _: (404, b"")
    with pytest.raises(MediaError, match=r"201 of the first 201 pictures \(2000 in all\) .*1\.png .* answered 404"):
        fetched(many, cache)
    assert len(server.asked) < 1000, "what is left over is not even begun"


def test_private_addresses_are_refused_unless_they_are_allowed(server: PictureServer, cache: PictureCache) -> None:
    with pytest.raises(MediaError, match=r"a private address\. If pictures may come from there, set LABELLOOP_ALLOW"):
        fetched(listing(server, 3), cache, Settings())
    assert server.asked == []


def test_secrets_of_addresses_are_told_nowhere(server: PictureServer, cache: PictureCache, tmp_path: Path) -> None:
    signed = server.address.replace("//", "//user:hush@") + "/gone.png?Signature=hush"
    records = (*listing(server, 2).records, Record(signed, ("cat",), 3))
    found = fetched(Listing.of(records), cache)
    assert "gone.png could not be read" in found.manifest.left_out[0].reason
    assert "hush" not in found.manifest.to_jsonl()
    server.files["/gone.png"] = picture(7)
    assert len(fetched(Listing.of(records), cache).manifest.items) == 3
    assert not any(b"hush" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_files_of_this_machine_are_read_and_noticed_when_they_change(tmp_path: Path, cache: PictureCache) -> None:
    path = tmp_path / "ü 1.png"
    path.write_bytes(picture(1))
    records = Listing.of([Record(path.as_uri(), ("cat",), 1)])
    assert fetched(records, cache).manifest.items[0].content == sha(picture(1))
    path.write_bytes(picture(200))
    assert fetched(records, cache).manifest.items[0].content == sha(picture(200))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file:///nowhere/a.png", "No such file"),
        ("file:///a%00.png", "its name is impossible"),
        ("file:///", "Is a directory"),
        ("azure-blob://c/k", "pictures are read from files, s3://"),
        ("data:image/png;base64,hush", "data:image/png;base64,…: not a readable picture"),
        ("data:image/png;base64,hush!", "data:image/png;base64,… could not be read: its data is not valid base64"),
        ("s3://bucket", "s3://bucket/key"),
        ("gs://bucket", "gs://bucket/name"),
        ("/data/upload/1/a.png", "LABEL_STUDIO_API_KEY is not set"),
    ],
)
def test_what_cannot_be_read_is_said(uri: str, reason: str, cache: PictureCache, tmp_path: Path) -> None:
    whole = tmp_path / "a.png"
    whole.write_bytes(picture(1))
    found = fetched(Listing.of([Record(uri, ("cat",), 1), Record(whole.as_uri(), ("cat",), 2)]), cache)
    assert reason in found.manifest.left_out[0].reason
    assert "hush" not in found.manifest.left_out[0].reason


def test_what_is_no_file_is_never_waited_for(tmp_path: Path, cache: PictureCache) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    names = ("a.png", "folder.png", "broken.png", "pipe.png", "null.png")
    found = fetched(
        Listing.of(Record((tmp_path / name).as_uri(), ("cat",), at) for at, name in enumerate(names, 1)), cache
    )
    assert [item.task for item in found.manifest.items] == [1]
    reasons = [out.reason.rpartition(": ")[2] for out in found.manifest.left_out]
    assert reasons == [
        "Is a directory", "No such file or directory", "it is a named pipe and no file", "it is a device and no file",
    ]  # fmt: skip


def test_too_large_a_file_is_not_read(tmp_path: Path, cache: PictureCache) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture(1))
    settings = Settings(media_max_bytes=20)
    with pytest.raises(MediaError, match=r"it has \d+ bytes; at most 20 are read \(LABELLOOP_MEDIA_MAX_BYTES\)"):
        fetched(Listing.of([Record(path.as_uri(), ("cat",), 1)]), cache, settings)


def test_a_picture_on_two_sides_and_one_with_two_answers(server: PictureServer, cache: PictureCache) -> None:
    server.files |= {"/a.png": picture(1), "/b.png": picture(2), "/c.png": picture(2)}
    records = (
        Record(f"{server.address}/1.png", ("cat",), 1, "train"),
        Record(f"{server.address}/a.png", ("cat",), 2, "test"),
        Record(f"{server.address}/b.png", ("cat",), 3),
        Record(f"{server.address}/c.png", ("dog",), 4),
        Record(f"{server.address}/5.png", ("dog",), 5, "validation"),
    )
    found = fetched(Listing.of(records), cache, project=ProjectKey("shop", 3))

    assert found.sides == {sha(picture(1)): "test", sha(picture(5)): "validation"}
    assert [out.task for out in found.moved] == [1]
    reason = "tasks 3, 4 show the same picture and are labeled differently"
    assert tuple(found.contradicting()) == (LeftOut(3, reason), LeftOut(4, reason))
    assert sum(map(len, splits(found.manifest).values())) == 2
    assert found.manifest.project == ProjectKey("shop", 3)


def test_texts_that_lie_in_files_are_read_as_if_they_stood_in_the_list(cache: PictureCache) -> None:
    files = {"/1.txt": "\ufeffAda saw Oslo".encode(), "/2.txt": b"Ada", "/3.txt": b"\xff", "/4.txt": b" \n"}
    span = '[{"label":"LOC","span":[8,12]}]'
    with picture_server(files) as server:
        records = [Record(f"{server.address}/{at}.txt", ("LOC",), at, result=span) for at in range(1, len(files) + 1)]
        found = fetched(Listing.of(records, kind=SPANS), cache)
    [item] = found.manifest.items
    assert item == Item.of_text(1, "Ada saw Oslo", ("LOC",), span)
    assert [out.task for out in found.manifest.left_out] == [2, 3, 4]
    assert found.manifest.left_out[0].reason.endswith("/2.txt: a span of it ends behind its last character")


def test_a_truth_of_another_form_is_no_fault_of_its_text(cache: PictureCache) -> None:
    with picture_server({"/1.txt": b"sold for 5"}) as server:
        record = Record(f"{server.address}/1.txt", (), 1, result='[{"number":5}]')
        found = fetched(Listing.of((record,), choice="multiple", kind=SPANS), cache)
    assert [item.text for item in found.manifest.items] == ["sold for 5"]


KILLED = """
import sys
from pathlib import Path
from labelloop.data.picture_cache import PictureCache
from labelloop.data.formats import read_listing
from labelloop.run.source import fetch_listing
from labelloop.settings import Settings
cache = PictureCache(Path(sys.argv[2]))
fetch_listing(read_listing(sys.argv[1]), cache, Settings(allow_private_addresses=True), lambda *_: None)
"""


@pytest.mark.process
def test_killed_and_run_again_it_fetches_only_what_is_missing(
    server: PictureServer, cache: PictureCache, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_text("uri,label\n" + "".join(f"{server.address}/{at}.png,cat\n" for at in range(30)))
    halfway, gone, held = threading.Event(), threading.Event(), itertools.count(1)

    def answer(asked: str) -> None:
        # Every connection is held by one of the last ones: nothing else is under way, nor comes when all are killed.
        if int(asked[1:-4]) >= 30 - READERS and not gone.is_set():
            if next(held) == READERS:
                halfway.set()
            gone.wait(30)

    server.answer = answer
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(tmp_path / "cache")], env=_environment())
    assert halfway.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    gone.set()
    kept = len(list((tmp_path / "cache/urls").rglob("*/*/*/*")))
    server.asked.clear()

    found = fetched(open_listing(str(path), SETTINGS), cache)

    assert len(found.manifest.items) == 30
    assert kept >= 10
    assert len([asked for asked in server.asked if asked]) == 30 - kept


def _environment() -> dict[str, str]:
    import labelloop

    return {**os.environ, "PYTHONPATH": str(Path(labelloop.__file__).parents[1])}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in moto_environment(moto).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex}"
    client: Any = Session().client("s3")
    client.create_bucket(Bucket=name)
    for at in range(5):
        client.put_object(Bucket=name, Key=f"lists/pictures/{at} ü.png", Body=picture(at))
    text = "path,label\n" + "".join(f"pictures/{at} ü.png,cat\n" for at in range(5))
    client.put_object(Bucket=name, Key="lists/train.csv", Body=text.encode())
    client.close()
    return name


def test_a_list_and_its_pictures_in_s3(bucket: str, cache: PictureCache) -> None:
    found = open_listing(f"s3://{bucket}/lists/train.csv", Settings())
    assert found.records[0].uri == f"s3://{bucket}/lists/pictures/0 ü.png"
    assert {item.content for item in fetched(found, cache).manifest.items} == {sha(picture(at)) for at in range(5)}


def test_what_s3_refuses_is_said(bucket: str, cache: PictureCache) -> None:
    with pytest.raises(
        MediaError, match=r"gone\.png could not be read: S3 answered NoSuchKey\. Give this machine access"
    ):
        fetched(Listing.of([Record(f"s3://{bucket}/gone.png", ("cat",), 1)]), cache)


def test_s3_that_stumbles_is_asked_again(cache: PictureCache, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with picture_server({"/bucket/1.png": picture(1)}) as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        answers = iter([503, 503, 503, 503])
        s3.answer = lambda _: (status, b"") if (status := next(answers, 0)) else None
        assert fetched(Listing.of([Record("s3://bucket/1.png", ("cat",), 1)]), cache).manifest.items


def test_s3_that_is_not_there_is_worth_another_try_and_an_impossible_address_is_not(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, kind in ((f"http://127.0.0.1:{free_port()}", Transient), ("nowhere", MediaError)):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        with closing(Reader(Settings())) as reader:
            with pytest.raises(kind, match="S3 could not be asked") as caught:
                reader.read(f"s3://{bucket}/1.png")
            assert type(caught.value) is kind


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_list_and_its_pictures_in_google_cloud_storage(scheme: str, cache: PictureCache) -> None:
    lines = b'{"imageGcsUri": "gs://shop/a b/1 %.png", "classificationAnnotation": {"displayName": "cat"}}'
    with picture_server({"/shop/lists/import.jsonl": lines, "/shop/a b/1 %.png": picture(1)}) as storage:
        settings = Settings.from_environment(
            {"STORAGE_EMULATOR_HOST": scheme + storage.address.removeprefix("http://")}
        )
        found = fetched(open_listing("gs://shop/lists/import.jsonl", settings), cache, settings)
        assert [item.content for item in found.manifest.items] == [sha(picture(1))]
        assert storage.tokens == ["", ""]
        with pytest.raises(
            MediaError, match=r"gs://shop/gone could not be read: .* answered 404\. There is no such object"
        ):
            open_listing("gs://shop/gone", settings)


def test_class_folders_in_google_cloud_storage(cache: PictureCache) -> None:
    files = {f"/shop/set/train/{label}/{at} ü.png": picture(at) for at, label in enumerate(["cat", "cat", "dog"])}
    files |= {"/shop/set/test/dog/9.png": picture(9), "/shop/set/": b"", "/shop/settled/train/cat/x.png": b""}
    with picture_server(files) as storage:
        settings = Settings(storage_emulator=storage.address)
        found = open_listing("gs://shop/set/", settings)
        assert [(one.uri, one.labels[0], one.side) for one in found.records][-2:] == [
            ("gs://shop/set/train/dog/2 ü.png", "dog", "train"),
            ("gs://shop/set/test/dog/9.png", "dog", "test"),
        ]
        assert len(fetched(found, cache, settings).manifest.items) == 4
        with pytest.raises(ManifestError, match=r"gs://shop/none/ has no folders"):
            open_listing("gs://shop/none/", settings)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["train/images/1.png", "train/labels/1.txt"], "boxes, polygons or key points"),
        (["train/1.png", "train/_annotations.coco.json"], "boxes, polygons or key points"),
        (["images/1.png", "masks/1.png"], "masks"),
    ],
)
def test_a_folder_elsewhere_that_has_no_classes_is_known_by_its_names(names: list[str], labels: str) -> None:
    with picture_server({f"/shop/set/{name}": b"" for name in names}) as storage:
        settings = Settings(storage_emulator=storage.address)
        with pytest.raises(ManifestError, match=f"gs://shop/set/ holds {labels} .* name the format: imagefolder"):
            open_listing("gs://shop/set/", settings)


def test_class_folders_in_s3(bucket: str, cache: PictureCache) -> None:
    client: Any = Session().client("s3")
    for at, name in enumerate(["cat/1.png", "dog/sub/2.png", "dog/notes.txt", "bird/"]):
        client.put_object(Bucket=bucket, Key=f"set/{name}", Body=picture(at))
    client.close()
    found = open_listing(f"s3://{bucket}/set/", Settings())
    assert found.classes == ("bird", "cat", "dog")
    assert [one.uri for one in found.records] == [f"s3://{bucket}/set/cat/1.png", f"s3://{bucket}/set/dog/sub/2.png"]
    assert [out.reason for out in found.left_out] == ["'dog/notes.txt' is no picture by its name"]
    assert len(fetched(found, cache).manifest.items) == 2
    with pytest.raises(MediaError, match="could not be listed: S3 answered NoSuchBucket"):
        open_listing("s3://no-such-bucket/set/", Settings())


def page(name: str, following: str = "") -> Reply:
    """Answer one page of a bucket's names, as S3 does."""
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{following}</NextContinuationToken>"
    names = f"<EncodingType>url</EncodingType><Contents><Key>{name}</Key><Size>1</Size></Contents>"
    inside = names + (more if following else "")
    body = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</ListBucketResult>'
    return answer(body.encode(), headers="Content-Type: application/xml\r\n")


def test_a_folder_of_s3_is_listed_page_by_page_and_a_page_that_stumbles_again(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stumble = answer(b"", 503)
    with misbehaving(page("set/cat/1.png", "n+2"), stumble, stumble, stumble, page("set/dog/2%20%25.png")) as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.address)
        found = open_listing("s3://shop/set/", Settings())
        assert [one.uri for one in found.records] == ["s3://shop/set/cat/1.png", "s3://shop/set/dog/2 %.png"]
        asked = [parse_qs(urlsplit(request.line.split()[1]).query) for request in s3.requests]
        assert [query.get("continuation-token") for query in asked] == [None, *[["n+2"]] * 4]
        assert {query["prefix"][0] for query in asked} == {"set/"}


def test_google_that_stumbles_is_told_from_google_that_refuses() -> None:
    with (
        picture_server({"/shop/1.png": picture(1)}) as storage,
        closing(GoogleObjects(storage.address, 80, 1)) as google,
    ):
        storage.answer = lambda _: (503, b"")
        with pytest.raises(Transient, match="Google Cloud Storage answered 503"):
            google.read("gs://shop/1.png", time.monotonic() + 10)
        assert storage.asked == ["/shop/1.png"]
        storage.answer = lambda _: None
        assert google.read("gs://shop/1.png", time.monotonic() + 10) == picture(1)
        storage.files["/shop/1.png"] *= 2
        with pytest.raises(TooLarge):
            google.read("gs://shop/1.png", time.monotonic() + 10)


def test_without_credentials_google_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with (
        closing(GoogleObjects("", 10_000, 1)) as google,
        pytest.raises(MediaError, match="no Google credentials were found: run `gcloud auth"),
    ):
        google.read("gs://shop/1.png", time.monotonic() + 10)
    with pytest.raises(MediaError, match=r"no known form: 'ftp://nowhere' .STORAGE_EMULATOR_HOST"):
        GoogleObjects("ftp://nowhere", 10_000, 1)


def test_a_list_on_a_web_server_names_pictures_beside_it_and_no_files(
    server: PictureServer, cache: PictureCache
) -> None:
    server.files |= {"/lists/a.csv": b"path,label\n0.png,cat\n", "/lists/0.png": picture(0)}
    location = f"{server.address}/lists/a.csv?Signature=hush"
    found = open_listing(location, SETTINGS)
    assert found.records[0].uri == f"{server.address}/lists/0.png"
    assert len(fetched(found, cache).manifest.items) == 1
    server.files["/lists/a.csv"] = b"path,label\n/etc/passwd,cat\n"
    with pytest.raises(
        ManifestError, match=r"http://.*/lists/a\.csv, line 2: '/etc/passwd' is a file of this machine"
    ) as error:
        open_listing(location, SETTINGS)
    assert "hush" not in str(error.value)


def test_waits_grow_between_tries_and_only_for_what_may_pass() -> None:
    waits: list[float] = []
    with pytest.raises(Transient, match="busy"):
        patiently(_failing(Transient("busy")), waits.append)
    assert len(waits) == TRIES - 1
    assert all(0.75 * 0.5 * 2**at <= wait <= 1.25 * 0.5 * 2**at for at, wait in enumerate(waits))
    waits.clear()
    with pytest.raises(MediaError, match="gone"):
        patiently(_failing(MediaError("gone")), waits.append)
    assert waits == []


def _failing(error: Exception) -> Any:
    def read() -> bytes:
        raise error

    return read


@pytest.mark.parametrize(
    ("missing", "total", "stop"),
    [(0, 0, False), (0, 3, False), (3, 3, True), (5, 6, False), (6, 30, True), (10, 100, False), (11, 100, True)],
)
def test_some_may_be_missing_but_neither_many_nor_all(missing: int, total: int, stop: bool) -> None:
    assert too_many(missing, total) is stop
