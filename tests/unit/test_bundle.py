import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from labelloop.errors import BundleError
from labelloop.models.bundle import bundle_files, check_bundle, digest
from support.bundles import checked
from support.file_bundle import INFO, SPEC, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def rewrite(bundle: Path, **changes: Any) -> None:
    description = json.loads((bundle / "model.json").read_text())
    (bundle / "model.json").write_text(json.dumps(description | changes))


def test_a_whole_bundle_is_described(bundle: Path) -> None:
    info = checked(bundle)
    assert (info.classes, info.choice, info.recipe, info.picture) == (("cat", "dog"), "single", "head", SPEC)
    assert sorted(info.files) == ["model.onnx", "model.safetensors", "model.ts.pt"]


def test_only_the_network_that_is_served_is_needed(bundle: Path) -> None:
    hashes = json.loads((bundle / "model.json").read_text())["files"]
    for name in ("model.safetensors", "model.ts.pt", "metrics.json"):
        (bundle / name).unlink()
        hashes.pop(name, None)
    rewrite(bundle, files=hashes)
    assert list(check_bundle(bundle).files) == ["model.onnx"]


def test_what_else_lies_in_the_folder_is_no_part_of_it(bundle: Path) -> None:
    before = digest(bundle)
    (bundle / "checkpoint.tmp").write_bytes(b"x")
    (bundle / "code").mkdir()
    check_bundle(bundle)
    assert bundle_files(bundle) == ["metrics.json", "model.json", "model.onnx", "model.safetensors", "model.ts.pt"]
    assert digest(bundle) == before


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "model.ts.pt"])
def test_every_byte_counts(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is damaged"):
        check_bundle(bundle)


@pytest.mark.parametrize("name", ["model.json", "model.onnx", "model.ts.pt"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        check_bundle(bundle)


@pytest.mark.parametrize("name", ["metrics.json", "model.json", "model.onnx"])
def test_the_digest_covers_every_file(bundle: Path, name: str) -> None:
    before = digest(bundle)
    with (bundle / name).open("ab") as file:
        file.write(b" ")
    assert digest(bundle) != before
    (bundle / name).unlink()
    assert digest(bundle) != before


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    assert digest(write_bundle(tmp_path / "a")) == digest(write_bundle(tmp_path / "b"))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "model.pkl", "model.json", ""])
def test_a_bundle_names_only_files_of_a_bundle(bundle: Path, name: str) -> None:
    (bundle.parent / "secret").write_bytes(b"")
    hashes = json.loads((bundle / "model.json").read_text())["files"]
    rewrite(bundle, files=hashes | {name: "0" * 64})
    with pytest.raises(BundleError, match="no part of a bundle"):
        check_bundle(bundle)


def test_weights_without_a_hash_are_not_trusted(bundle: Path) -> None:
    hashes = json.loads((bundle / "model.json").read_text())["files"]
    del hashes["model.ts.pt"]
    rewrite(bundle, files=hashes)
    with pytest.raises(BundleError, match=r"no hash of model\.ts\.pt"):
        check_bundle(bundle)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "has format 2, this release reads 1"),
        ({"classes": []}, "names no classes"),
        ({"classes": ["a", "a"]}, "names a class twice"),
        ({"classes": [1, 2]}, "names no classes"),
        ({"classes": None}, "unknown form"),
        ({"kind": "several"}, "kind 'several'"),
        ({"files": {}}, "nothing could be served"),
        ({"files": []}, "nothing could be served"),
        ({"files": {"model.onnx": "abc"}}, "no sha256"),
        ({"files": {"model.onnx": None}}, "no sha256"),
        ({"picture": asdict(SPEC) | {"height": 0}}, "impossible picture size"),
        ({"picture": asdict(SPEC) | {"width": "32"}}, "impossible picture size"),
        ({"picture": asdict(SPEC) | {"std": [1, 1, 0]}}, "impossible picture size"),
        ({"picture": asdict(SPEC) | {"mean": [1, 1]}}, "impossible picture size"),
        ({"picture": asdict(SPEC) | {"interpolation": "magic"}}, "impossible picture size"),
        ({"picture": None}, "unknown form"),
        ({"colour": "red"}, "unknown form"),
    ],
)
def test_another_form_is_refused(bundle: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match=said):
        check_bundle(bundle)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{", "{}", '{"picture": {}}'])
def test_what_is_no_description_is_refused(bundle: Path, text: str) -> None:
    (bundle / "model.json").write_text(text)
    with pytest.raises(BundleError, match=r"model\.json is of an unknown form"):
        check_bundle(bundle)


def test_a_description_that_is_no_text_is_refused(bundle: Path) -> None:
    (bundle / "model.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="unknown form"):
        check_bundle(bundle)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none: model\.json cannot be read: No such file"):
        check_bundle(tmp_path / "none")


def test_a_description_is_read_as_it_was_written(bundle: Path) -> None:
    assert type(INFO).from_json(INFO.to_json()) == INFO
