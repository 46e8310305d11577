"""Addresses: relative ones stay in their folder, and a list from elsewhere cannot name files of this machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.data.formats.base import base_of, resolve, written
from labelloop.errors import ManifestError
from labelloop.sources.urls import cleaned, local_file

HERE, BUCKET, WEB = "file:///pictures/", "s3://bucket/lists/", "https://host:8443/lists/"


@pytest.mark.parametrize(
    ("address", "base", "whole"),
    [
        ("a b.jpg", HERE, "file:///pictures/a%20b.jpg"),
        ("./x/../a%20.jpg", HERE, "file:///pictures/a%2520.jpg"),
        ("/other/a.jpg", HERE, "file:///other/a.jpg"),
        ("/other/../a.jpg", HERE, "file:///a.jpg"),
        ("file:///other/a%20b.jpg", HERE, "file:///other/a%20b.jpg"),
        ("FILE://localhost/a.jpg", HERE, "file:///a.jpg"),
        ("sub/a.jpg", BUCKET, "s3://bucket/lists/sub/a.jpg"),
        ("a b.jpg", WEB, "https://host:8443/lists/a%20b.jpg"),
        *((uri, base, uri) for base in (HERE, BUCKET) for uri in ("s3://b/k ü", "https://h/a?b#c", "data:image/png,x")),
        (" https://h/a b.jpg\n", HERE, "https://h/a b.jpg"),
        ("\tS3://b/Key.jpg ", WEB, "s3://b/Key.jpg"),
        ("gs://b/a\r\n.jpg", HERE, "gs://b/a.jpg"),
        ("\n/data/upload/1/a.jpg ", BUCKET, "/data/upload/1/a.jpg"),
        (" DATA:image/png;base64,AA\nAA", HERE, "data:image/png;base64,AAAA"),
        (" a.jpg", HERE, "file:///pictures/%20a.jpg"),
        *((uri, base, uri) for base in (HERE, WEB) for uri in ("/data/upload/1/a.jpg", "/data/local-files/?d=a.jpg")),
    ],
)
def test_addresses_are_made_whole(address: str, base: str, whole: str) -> None:
    assert resolve(address, base) == whole


@pytest.mark.parametrize(
    ("address", "base", "reason"),
    [
        ("", HERE, "is empty"),
        ("../a.jpg", HERE, "leads out of the folder"),
        ("a/../../b.jpg", BUCKET, "leads out of the folder"),
        ("..", HERE, "leads out of the folder"),
        ("/etc/passwd", BUCKET, "a file of this machine, which a list from elsewhere may not name"),
        ("file:///etc/passwd", WEB, "a file of this machine"),
        ("file://host/a.jpg", HERE, "file:///folder/name"),
        ("\ud800.jpg", HERE, "cannot be the name of a file"),
    ],
)
def test_addresses_that_lead_elsewhere_are_refused(address: str, base: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        resolve(address, base)


@given(st.text(max_size=30))
def test_a_relative_address_never_leaves_its_folder(address: str) -> None:
    try:
        found = resolve(address, HERE)
    except ManifestError:
        return
    path = local_file(found)
    if path is not None and not address.startswith("/") and not address.lower().startswith("file:"):
        assert path.is_relative_to("/pictures")
        assert ".." not in path.parts


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30))
def test_what_is_written_is_read_as_the_same_address(name: str) -> None:
    folder = Path("/pictures/set")
    base = base_of(folder / "list.csv")
    for uri in (
        resolve(f"./{name.strip('/')}/x", base) if ".." not in name else base + "x",
        cleaned(f"s3://bucket/{name}"),
    ):
        assert resolve(written(uri, folder), base) == uri


def test_files_below_the_list_are_written_short() -> None:
    assert written("file:///pictures/set/a%20b/c.jpg", Path("/pictures/set")) == "a b/c.jpg"
    assert written("file:///pictures/other/c.jpg", Path("/pictures/set")) == "file:///pictures/other/c.jpg"
    assert written("file:///pictures/set/s3%3A/%0A.jpg", Path("/pictures/set")).startswith("file:///")


def test_only_files_are_local() -> None:
    assert local_file("file:///a%20b%00") == Path("/a b\0")
    assert local_file("s3://bucket/key") is None
