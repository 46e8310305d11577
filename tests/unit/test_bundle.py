import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from labelloop.bundle_info import ForeignInfo
from labelloop.errors import BundleError
from labelloop.kinds import base
from labelloop.kinds.base import SCORED_BY
from labelloop.models.bundle import bundle_digest, bundle_files, check_bundle, read_answers, served_by, write_foreign
from labelloop.models.file_store import FileStore
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import ProjectKey
from support import numbers_kind
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
    before = bundle_digest(bundle)
    (bundle / "checkpoint.tmp").write_bytes(b"x")
    (bundle / "code").mkdir()
    check_bundle(bundle)
    assert bundle_files(bundle) == ["metrics.json", "model.json", "model.onnx", "model.safetensors", "model.ts.pt"]
    assert bundle_digest(bundle) == before


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
    before = bundle_digest(bundle)
    with (bundle / name).open("ab") as file:
        file.write(b" ")
    assert bundle_digest(bundle) != before
    (bundle / name).unlink()
    assert bundle_digest(bundle) != before


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    assert bundle_digest(write_bundle(tmp_path / "a")) == bundle_digest(write_bundle(tmp_path / "b"))


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
        ({"classes": ["a", "a"]}, "names a class twice: 'a'"),
        ({"classes": [1, 2]}, "names no classes"),
        ({"classes": None}, "unknown form"),
        ({"kind": "several"}, "kind 'several'"),
        ({"files": {}}, "nothing could be served"),
        ({"files": []}, "nothing could be served"),
        ({"files": {"model.onnx": "abc"}}, "no sha256"),
        ({"files": {"model.onnx": None}}, "no sha256"),
        ({"picture": asdict(SPEC) | {"height": 0}}, "impossible picture size"),
        ({"thresholds": {"bird": 0.5}}, "a threshold that is of no class"),
        ({"thresholds": {"cat": 1}}, "a threshold that is of no class, or not between 0 and 1"),
        ({"thresholds": ["cat"]}, "a threshold that is of no class"),
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


FOREIGN = ForeignInfo(("cat", "dog"), "single", "command", model="arn:aws:model/7")


@pytest.mark.parametrize("kind", ["image-classification", "numbers"])
def test_a_bundle_of_any_kind_may_say_that_its_model_lies_elsewhere(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    write_foreign(tmp_path, replace(FOREIGN, kind=kind), {"ab" * 32: {"error": "no"}})

    info = check_bundle(tmp_path)

    assert isinstance(info, ForeignInfo)
    assert (info.model, info.kind, list(info.files)) == ("arn:aws:model/7", kind, ["answers.jsonl"])
    assert bundle_files(tmp_path) == ["answers.jsonl", "model.json"]
    assert read_answers(tmp_path / "answers.jsonl") == {"ab" * 32: {"error": "no"}}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": ""}, "has no name of the model"),
        ({"model": 7}, "has no name of the model"),
        ({"files": {}}, "no hash of answers.jsonl"),
        ({"files": {"answers.jsonl": "0" * 64, "model.onnx": "0" * 64}}, "'model.onnx', which is no part"),
        ({"files": {"answers.jsonl": "0" * 64}}, "answers.jsonl is damaged"),
        ({"backbone": "resnet18"}, "unknown form"),
    ],
)
def test_what_is_wrong_with_a_model_that_lies_elsewhere_is_said(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    write_foreign(tmp_path, FOREIGN, {})
    rewrite(tmp_path, **changes)
    with pytest.raises(BundleError, match=problem):
        check_bundle(tmp_path)


def test_a_model_elsewhere_is_published_and_fetched_with_its_answers(tmp_path: Path) -> None:
    write_foreign(tmp_path / "bundle", FOREIGN, {"ab" * 32: {"error": "no"}})
    project, store = ProjectKey("local", 1), FileStore(tmp_path / "store")
    versions = Versions(store, project)
    versions.publish(
        versions.claim("run"), tmp_path / "bundle", VersionRecord("v1", "run", "command", None, "", True, "")
    )
    for _ in range(2):
        fetched = versions.fetch_bundle("v1", tmp_path / "cache", served_by(SCORED_BY))
        assert bundle_files(fetched) == ["answers.jsonl", "model.json"]
        (fetched / "answers.jsonl").unlink()
