"""A version's files on disk: which there are, and whether they are what ``model.json`` says (docs/bundle.md).

A model that lies elsewhere has its answers there instead of weights, by the content of each input.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from labelloop.bundle_info import (
    ANSWERS,
    HEAD,
    SHARED,
    BundleInfo,
    EndpointHeadInfo,
    ForeignInfo,
    NetworkInfo,
)
from labelloop.errors import BundleError, UnknownForm, UnknownKind
from labelloop.files import is_sha256, kept_sha256, sha256
from labelloop.kinds.base import Kind, find, weight_files
from labelloop.types import IMAGES, Json

FORMAT = 1
DESCRIPTION = "model.json"
METRICS = "metrics.json"
RECORD = "version.json"
"""Beside a bundle that is served from a folder: which version it is; no part of the bundle."""

Wanted = Callable[[BundleInfo], Collection[str]]
"""Names the weight files of a bundle that are wanted, by its description."""


def files() -> tuple[str, ...]:
    """Name all that a bundle of any kind can hold; what else lies in its folder is not part of it."""
    return (*weight_files(), METRICS, DESCRIPTION)


def weights_of(info: BundleInfo) -> tuple[str, ...]:
    """Name the files that this bundle may hold its model in; the one with its answers, where that lies elsewhere."""
    return info.apart or find(info.kind).weights


def served_by(engine: str) -> Wanted:
    """Want the files that an engine runs, or what there is of a model that lies elsewhere."""
    return lambda info: info.apart or find(info.kind).served(engine)


def check_bundle(directory: Path, wanted: Wanted = weights_of) -> BundleInfo:
    """Read ``model.json`` and hash every file it names; raises BundleError when anything is not as it says.

    Needed: ``model.json`` with a hash of what is served, a hash for every weight file there is, and every file that has
    one; weight files that are not ``wanted`` may be missing. The report may go without a hash.
    """
    info = read_bundle_info(directory)
    for name in weights_of(info):
        if name not in info.files and (directory / name).exists():
            raise BundleError(f"bundle {directory}: {DESCRIPTION} has no hash of {name}; export the version again")
    needed = {METRICS, *wanted(info)}
    for name, expected in info.files.items():
        if name not in needed and not (directory / name).exists():
            continue
        if _sha256(directory, name) != expected:
            raise _damaged(directory, name)
    return info


def read_hashed(directory: Path, info: BundleInfo, name: str) -> bytes:
    """Read one file whose bytes are those that ``info`` has the hash of; raises BundleError."""
    if name not in info.files:
        raise BundleError(f"bundle {directory}: there is no {name}; export the version again, or use another engine")
    try:
        content = (directory / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {directory}: {name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != info.files[name]:
        raise _damaged(directory, name)
    return content


def bundle_files(directory: Path) -> list[str]:
    """Name the bundle's files in a folder, sorted."""
    return sorted(name for name in files() if (directory / name).is_file())


def bundle_digest(directory: Path, stated: Mapping[str, str] = MappingProxyType({})) -> str:
    """Hash names and contents of all of the bundle's files: sha256, hex. Raises BundleError.

    ``stated`` maps names to hashes (sha256, hex) that count for files which are not here.
    """
    hashes = {**stated, **{name: _sha256(directory, name) for name in bundle_files(directory)}}
    lines = "".join(f"{hashes[name]} {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_bundle_info(directory: Path) -> BundleInfo:
    """Read ``model.json``, and look at no other file; raises BundleError when it is not as it should be."""
    try:
        content = (directory / DESCRIPTION).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {directory}: {DESCRIPTION} cannot be read: {error.strerror}") from error
    return read_description(content, f"bundle {directory}")


def read_network_info(directory: Path) -> NetworkInfo:
    """Read the ``model.json`` of a network that classifies pictures; raises BundleError for every other bundle too."""
    return network_info(read_bundle_info(directory), directory)


def network_info(info: BundleInfo, directory: Path) -> NetworkInfo:
    """Give a description back; raises BundleError where it is of no network that classifies pictures."""
    if not isinstance(info, NetworkInfo):
        raise BundleError(
            f"bundle {directory}: its model is no network that classifies pictures, it is for {info.kind}"
        )
    return info


def read_description(content: bytes, whose: str) -> BundleInfo:
    """Read the content of a ``model.json``; raises BundleError, naming ``whose``, when it is not as it should be."""
    try:
        raw = json.loads(content)
        kind = find(raw.get("learns", IMAGES))
        info = _described(raw, kind)
        problem = next(_problems(info, kind), "")
    except UnknownKind as error:
        raise BundleError(f"{whose}: {DESCRIPTION}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnknownForm(f"{whose}: {DESCRIPTION} is of an unknown form: {error!r}") from error
    if problem:
        raise BundleError(f"{whose}: {DESCRIPTION} {problem}")
    return info


def write_foreign(directory: Path, info: ForeignInfo, answers: Mapping[str, Json]) -> None:
    """Write the bundle of a model that lies elsewhere, with its answers by the sha256 (hex) of their inputs."""
    directory.mkdir(parents=True, exist_ok=True)
    write_answers(directory / ANSWERS, answers)
    (directory / DESCRIPTION).write_text(replace(info, files={ANSWERS: _sha256(directory, ANSWERS)}).to_json())


def write_answers(path: Path, answers: Mapping[str, Json]) -> None:
    """Write answers by the sha256 (hex) of their inputs, sorted: the same answers make the same file."""
    lines = (json.dumps({"content": content} | answers[content], sort_keys=True) for content in sorted(answers))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def read_answers(path: Path) -> dict[str, Json]:
    """Read what ``write_answers`` wrote; raises BundleError."""
    try:
        found = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
        return {one.pop("content"): one for one in found}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BundleError(f"{path} cannot be read ({error!r}): the answers of this version are lost") from error


def _problems(info: BundleInfo, kind: Kind) -> Iterator[str]:
    """Say what is wrong with a description, the first thing first."""
    if info.format != FORMAT:
        yield f"has format {info.format!r}, this release reads {FORMAT}: install the release that wrote it"
    if (kind.contrasts and not info.classes) or not all(isinstance(name, str) for name in info.classes):
        yield "names no classes"
    if twice := [name for name in info.classes if info.classes.count(name) > 1]:
        yield f"names a class twice: {twice[0]!r}"
    if info.choice not in ("single", "multiple"):
        yield f"has kind {info.choice!r}: expected single or multiple"
    if isinstance(info, ForeignInfo):
        yield from _foreign_problems(info)
    elif isinstance(info, EndpointHeadInfo):
        yield from _head_problems(info)
    else:
        yield from kind.problems(info)
    if strange := sorted(set(info.files) - {*weights_of(info), METRICS}):
        yield f"names the file {strange[0]!r}, which is no part of a bundle"
    if not all(map(is_sha256, info.files.values())):
        yield "has a file hash that is no sha256"


def _described(raw: Json, kind: Kind) -> BundleInfo:
    if "model" in raw:
        return ForeignInfo.read(raw)
    return EndpointHeadInfo.read(raw) if "endpoint" in raw else kind.describe(raw)


def _head_problems(info: EndpointHeadInfo) -> Iterator[str]:
    if not is_sha256(info.features):
        yield "names the features that its head learned from by what is no sha256"
    if type(info.width) is not int or info.width < 1:
        yield "does not say how many features an input has"
    if HEAD not in info.files:
        yield f"has no hash of {HEAD}: nothing could be served"


def _foreign_problems(info: ForeignInfo) -> Iterator[str]:
    if not isinstance(info.model, str) or not info.model:
        yield "has no name of the model that lies elsewhere"
    if ANSWERS not in info.files:
        yield f"has no hash of {ANSWERS}: nothing could be judged"


def _damaged(directory: Path, name: str) -> BundleError:
    return BundleError(f"bundle {directory}: {name} is damaged, its sha256 is not the one in {DESCRIPTION}")


def _sha256(directory: Path, name: str) -> str:
    """Hash a file; a backbone's, which is large and the same for many versions, not each time anew."""
    try:
        return (kept_sha256 if name in SHARED else sha256)(directory / name)
    except FileNotFoundError:
        raise BundleError(f"bundle {directory}: {name} is missing") from None
    except OSError as error:
        raise BundleError(f"bundle {directory}: {name} cannot be read: {error.strerror}") from error
