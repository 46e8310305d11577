"""``model.tar.gz``: what goes in, what comes out, and what never does."""

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from labelloop.errors import BundleError
from labelloop.models.archive import bundle_folder, write_archive
from labelloop.models.bundle import bundle_digest, check_bundle, served_by
from support.file_bundle import write_bundle


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_archive(write_bundle(tmp_path / "bundle"), tmp_path / "model.tar.gz")
    return tmp_path / "model.tar.gz"


def test_the_files_are_at_the_root_as_sagemaker_unpacks_them(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    subprocess.run(["tar", "xzf", archive, "-C", tmp_path / "model"], check=True)
    assert contents(tmp_path / "model") == contents(tmp_path / "bundle")


def test_the_same_files_give_the_same_bytes_and_nobody_s_name(archive: Path, tmp_path: Path) -> None:
    again = write_bundle(tmp_path / "again")
    (again / "checkpoint.tmp").write_bytes(b"no part of it")
    write_archive(again, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
    assert [one.name for one in members] == sorted(contents(tmp_path / "bundle"))
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime, one.mode) for one in members} == {
        (0, 0, "", "", 0, 0o644)
    }


def test_the_version_goes_along(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "version.json").write_text('{"version": "v7"}')
    write_archive(bundle, tmp_path / "model.tar.gz")
    assert (
        bundle_folder(tmp_path / "model.tar.gz", tmp_path / "cache") / "version.json"
    ).read_text() == '{"version": "v7"}'


def test_an_endpoint_gets_the_weights_that_it_runs(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    write_archive(bundle, tmp_path / "model.tar.gz", "v7", served_by("onnx"))
    packed = bundle_folder(tmp_path / "model.tar.gz", tmp_path / "cache")
    left_out = contents(bundle).keys() - contents(packed).keys()
    assert left_out == {"model.safetensors", "model.ts.pt"}
    assert check_bundle(packed, served_by("onnx")) == check_bundle(bundle)


def test_a_damaged_bundle_is_not_packed_and_nothing_stays(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
        write_archive(bundle, tmp_path / "model.tar.gz")
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_an_archive_is_unpacked_once_and_a_folder_is_itself(archive: Path, tmp_path: Path) -> None:
    folder = bundle_folder(archive, tmp_path / "cache")
    assert bundle_digest(folder) == bundle_digest(tmp_path / "bundle")
    check_bundle(folder)
    assert bundle_folder(archive, tmp_path / "cache") == folder
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [folder.name]
    assert bundle_folder(folder, tmp_path / "cache") == folder


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for member, content in members:
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_only_plain_files_of_a_bundle_come_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    evil = tar_of(
        tmp_path / "evil.tar.gz",
        (tarfile.TarInfo("../escaped"), b"x"),
        (tarfile.TarInfo("/model.json"), b"x"),
        (tarfile.TarInfo("code/inference.py"), b"x"),
        (link("model.onnx", str(tmp_path / "secret"), tarfile.SYMTYPE), b""),
        (link("model.ts.pt", "../secret", tarfile.LNKTYPE), b""),
        (tarfile.TarInfo("./metrics.json"), b"{}"),
    )
    assert contents(bundle_folder(evil, tmp_path / "cache")) == {"metrics.json": b"{}"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cache", "evil.tar.gz", "secret"]


@pytest.mark.parametrize("part", [0.01, 0.3, 0.6])
def test_what_is_no_whole_archive_is_named(part: float, archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(archive.read_bytes()[: int(part * archive.stat().st_size)])
    with pytest.raises(BundleError, match=r"broken\.tar\.gz is no model\.tar\.gz that can be read"):
        check_bundle(bundle_folder(broken, tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(b"text" * 1000)], ids=["empty", "text", "gzip"])
def test_other_files_are_no_archives(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(BundleError, match="is no model"):
        bundle_folder(tmp_path / "other", tmp_path / "cache")


@pytest.mark.parametrize("name", ["model.onnx", "beside.bin"])
def test_what_unpacks_to_far_more_than_it_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("labelloop.models.archive._FREE_BYTES", 100_000)
    bomb = tmp_path / "model.tar.gz"
    with tarfile.open(bomb, "w:gz") as packed:
        member = tarfile.TarInfo(name)
        member.size = 1_000_000
        packed.addfile(member, io.BytesIO(bytes(member.size)))
    assert bomb.stat().st_size * 100 < 200_000
    with pytest.raises(BundleError, match=r"is no model\.tar\.gz: its files have more than"):
        bundle_folder(bomb, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*"))
