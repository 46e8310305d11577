"""What stands in for Cloud Storage: answers as Google's JSON API, to the real gcloud, too."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from support.google import PROJECT, StandIn
from support.google.storage import Storage
from support.tools import require_tool

OBJECTS, UPLOADS = "/storage/v1/b/shop/o", "/upload/storage/v1/b/shop/o"
GRAIN = 262_144


@pytest.fixture
def storage() -> Storage:
    storage = Storage()
    storage.buckets.make("shop")
    return storage


@pytest.fixture
def client(storage: Storage) -> Any:
    return Client(storage)


def upload(client: Any, name: str, content: bytes, **query: str) -> Any:
    return client.post(UPLOADS, query_string={"uploadType": "media", "name": name, **query}, data=content)


def begin(client: Any, name: str, **query: str) -> str:
    """Begin an upload in parts, and give its address."""
    told = client.post(UPLOADS, query_string={"uploadType": "resumable", "name": name, **query}, data=b"{}")
    assert told.status_code == 200
    return str(told.headers["Location"]).removeprefix("http://localhost")


def part(client: Any, session: str, content: bytes, said: str) -> Any:
    return client.put(session, data=content, headers={"Content-Range": f"bytes {said}"})


def reason(told: Any) -> tuple[int, str]:
    error = told.json["error"]
    assert error["message"] == error["errors"][0]["message"]
    return error["code"], error["errors"][0]["reason"]


def test_conditions_hold_for_each_kind_of_upload_and_for_deletes(client: Any, storage: Storage) -> None:
    first = upload(client, "a", b"1", ifGenerationMatch="0").json["generation"]
    assert reason(upload(client, "a", b"2", ifGenerationMatch="0")) == (412, "conditionNotMet")
    second = upload(client, "a", b"2", ifGenerationMatch=first).json["generation"]
    assert int(second) > int(first)
    session = begin(client, "a", ifGenerationMatch=second)
    storage.put("shop", "a", b"3")
    assert reason(part(client, session, b"4", "0-0/1")) == (412, "conditionNotMet")
    begun = client.post(UPLOADS, query_string={"uploadType": "resumable", "name": "a", "ifGenerationMatch": second})
    assert reason(begun) == (412, "conditionNotMet")
    assert client.get(f"{OBJECTS}/a?alt=media&ifGenerationMatch={second}").status_code == 412
    assert reason(client.delete(f"{OBJECTS}/a?ifGenerationMatch={second}")) == (412, "conditionNotMet")
    assert storage.read("shop", "a") == b"3"
    assert reason(upload(client, "a", b"5", ifGenerationMatch="x")) == (400, "invalid")
    assert client.delete(f"{OBJECTS}/a").status_code == 204
    assert reason(client.delete(f"{OBJECTS}/a")) == (404, "notFound")


def test_an_upload_in_parts_says_how_much_it_has(client: Any, storage: Storage) -> None:
    session, content = begin(client, "a"), os.urandom(GRAIN + 9)
    size = len(content)
    nothing = part(client, session, b"", f"*/{size}")
    assert (nothing.status_code, nothing.headers.get("Range")) == (308, None)
    assert reason(part(client, session, b"123", f"0-2/{size}")) == (400, "invalid")
    told = part(client, session, content[:GRAIN], f"0-{GRAIN - 1}/{size}")
    assert (told.status_code, told.headers["Range"]) == (308, f"bytes=0-{GRAIN - 1}")
    assert reason(part(client, session, b"9", f"{size - 1}-{size - 1}/{size}")) == (400, "invalid")
    assert client.get(f"{OBJECTS}/a").status_code == 404
    whole = part(client, session, content[GRAIN:], f"{GRAIN}-{size - 1}/{size}").json
    assert whole["size"] == str(size)
    assert part(client, session, b"", f"*/{size}").json == whole
    assert storage.read("shop", "a") == content
    assert part(client, session.replace("upload_id=", "upload_id=x"), b"", "*/1").status_code == 404


def test_a_listing_has_pages_of_names_and_of_what_lies_below(client: Any, storage: Storage) -> None:
    for name in ("a/1", "a/2", "b", "c/d/e", "ü"):
        storage.put("shop", name, b"")
    found, query = [], {"delimiter": "/", "maxResults": "2", "fields": "items(name,size),prefixes,nextPageToken"}
    while True:
        page = client.get(OBJECTS, query_string=query).json
        found += [*page.get("items", []), *page.get("prefixes", [])]
        if "nextPageToken" not in page:
            break
        query["pageToken"] = page["nextPageToken"]
    assert found == [{"name": "b", "size": "0"}, "a/", {"name": "ü", "size": "0"}, "c/"]
    assert client.get(OBJECTS, query_string={"prefix": "none"}).json == {"kind": "storage#objects"}


def test_ranges_are_parts_of_one_generation(client: Any, storage: Storage) -> None:
    storage.put("shop", "a/b", b"0123456789")
    found = client.get(f"{OBJECTS}/a%2Fb?alt=media", headers={"Range": "bytes=4-6"})
    assert (found.status_code, found.data, found.headers["Content-Range"]) == (206, b"456", "bytes 4-6/10")
    assert found.headers["X-Goog-Generation"] == client.get(f"{OBJECTS}/a%2Fb").json["generation"]
    assert client.get(f"{OBJECTS}/a%2Fb?alt=media", headers={"Range": "bytes=8-99"}).data == b"89"
    assert client.get(f"{OBJECTS}/a%2Fb?alt=media", headers={"Range": "bytes=10-"}).status_code == 416
    assert client.get(f"{OBJECTS}/none?alt=media").text == "No such object: shop/none"


def test_a_bucket_with_uniform_access_takes_no_lists_of_who_may(client: Any) -> None:
    assert reason(upload(client, "a", b"", predefinedAcl="publicRead")) == (400, "invalid")


def test_a_bucket_with_retention_lets_nothing_be_replaced_or_deleted(client: Any) -> None:
    asked = {"name": "kept", "retentionPolicy": {"retentionPeriod": "60"}}
    assert client.post("/storage/v1/b?project=p", json=asked).json["retentionPolicy"]["isLocked"]
    kept = "/upload/storage/v1/b/kept/o?uploadType=media&name=a"
    assert client.post(kept, data=b"1").status_code == 200
    assert reason(client.post(kept, data=b"2")) == (403, "retentionPolicyNotMet")
    assert reason(client.delete("/storage/v1/b/kept/o/a")) == (403, "retentionPolicyNotMet")
    assert reason(client.delete("/storage/v1/b/kept")) == (409, "conflict")
    assert reason(client.post("/storage/v1/b?project=p", json=asked)) == (409, "conflict")


@pytest.mark.slow
@pytest.mark.process
def test_the_real_gcloud_copies_files_there_and_back(google: StandIn, tmp_path: Path) -> None:
    gcloud = require_tool("gcloud", "https://cloud.google.com/sdk/docs/install")
    google.bucket("shop")
    (tmp_path / "token").write_text("any")
    (tmp_path / "small").write_bytes(b"hello\r\n\r\n")
    (tmp_path / "big").write_bytes(os.urandom(GRAIN) * 40)  # beyond 8 MiB it goes by a resumable upload
    environment = {
        **os.environ,
        "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{google.url}/storage/v1/",
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [gcloud, "storage", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    there = run("cp", str(tmp_path / "small"), str(tmp_path / "big"), "gs://shop/a/")
    assert there.returncode == 0, there.stderr
    assert google.storage.read("shop", "a/small") == (tmp_path / "small").read_bytes()
    assert google.calls.count("storage:PUT b/*/o") == 1
    (tmp_path / "back").mkdir()
    back = run("cp", "gs://shop/a/*", str(tmp_path / "back"))
    assert back.returncode == 0, back.stderr
    for name in ("small", "big"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / name).read_bytes()
    refused = run("cp", "--if-generation-match=0", str(tmp_path / "small"), "gs://shop/a/small")
    assert "HTTPError 412" in refused.stderr
    assert json.loads(run("objects", "describe", "gs://shop/a/small", "--format=json").stdout)["size"] == 9
