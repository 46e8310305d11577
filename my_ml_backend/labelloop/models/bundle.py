"""A version's files on disk: which there are, and whether they are what ``model.json`` says (docs/bundle.md)."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from labelloop.errors import BundleError
from labelloop.types import BundleInfo, PictureSpec

FORMAT = 1
DESCRIPTION = "model.json"
WEIGHTS = ("model.onnx", "model.safetensors", "model.ts.pt")
REPORT = "metrics.json"
FILES = (*WEIGHTS, REPORT, DESCRIPTION)
"""All that a bundle can hold; what else lies in its folder is not part of it."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_bundle(directory: Path, weights: Collection[str] = WEIGHTS) -> BundleInfo:
    """Read ``model.json`` and hash every file it names; raises BundleError when anything is not as it says.

    Needed: ``model.json`` with a hash of ``model.onnx``, a hash for every weight file there is, and every file that has
    one; weight files other than ``weights`` may be missing. The report may go without a hash.
    """
    info = describe(directory)
    for name in WEIGHTS:
        if name not in info.files and (directory / name).exists():
            raise BundleError(f"bundle {directory}: {DESCRIPTION} has no hash of {name}; export the version again")
    for name, expected in info.files.items():
        if name in WEIGHTS and name not in weights and not (directory / name).exists():
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
    return sorted(name for name in FILES if (directory / name).is_file())


def digest(directory: Path, stated: Mapping[str, str] = MappingProxyType({})) -> str:
    """Hash names and contents of all of the bundle's files: sha256, hex. Raises BundleError.

    ``stated`` maps names to hashes (sha256, hex) that count for files which are not here.
    """
    hashes = {**stated, **{name: _sha256(directory, name) for name in bundle_files(directory)}}
    lines = "".join(f"{hashes[name]} {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def describe(directory: Path) -> BundleInfo:
    """Read ``model.json``, and look at no other file; raises BundleError when it is not as it should be."""
    try:
        info = BundleInfo.from_json((directory / DESCRIPTION).read_bytes())
        problem = next(_problems(info), "")
    except OSError as error:
        raise BundleError(f"bundle {directory}: {DESCRIPTION} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"bundle {directory}: {DESCRIPTION} is of an unknown form: {error!r}") from error
    if problem:
        raise BundleError(f"bundle {directory}: {DESCRIPTION} {problem}")
    return info


def _problems(info: BundleInfo) -> Iterator[str]:
    """Say what is wrong with a description, the first thing first."""
    if info.format != FORMAT:
        yield f"has format {info.format!r}, this release reads {FORMAT}: install the release that wrote it"
    if not info.classes or not all(isinstance(name, str) for name in info.classes):
        yield "names no classes"
    if len(set(info.classes)) != len(info.classes):
        yield "names a class twice"
    if info.choice not in ("single", "multiple"):
        yield f"has kind {info.choice!r}: expected single or multiple"
    if not _is_spec(info.picture):
        yield "has an impossible picture size, mean or std"
    if "model.onnx" not in info.files:
        yield "has no hash of model.onnx: nothing could be served"
    if foreign := sorted(set(info.files) - {*WEIGHTS, REPORT}):
        yield f"names the file {foreign[0]!r}, which is no part of a bundle"
    if not all(isinstance(value, str) and _SHA256.fullmatch(value) for value in info.files.values()):
        yield "has a file hash that is no sha256"


def _is_spec(spec: PictureSpec) -> bool:
    sizes = all(isinstance(size, int) and size > 0 for size in (spec.height, spec.width))
    numbers = all(isinstance(value, (int, float)) for value in (*spec.mean, *spec.std))
    three = len(spec.mean) == len(spec.std) == 3
    return (
        sizes
        and numbers
        and three
        and all(value > 0 for value in spec.std)
        and spec.interpolation in ("bilinear", "bicubic")
    )


def _damaged(directory: Path, name: str) -> BundleError:
    return BundleError(f"bundle {directory}: {name} is damaged, its sha256 is not the one in {DESCRIPTION}")


def _sha256(directory: Path, name: str) -> str:
    try:
        with (directory / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise BundleError(f"bundle {directory}: {name} is missing") from None
    except OSError as error:
        raise BundleError(f"bundle {directory}: {name} cannot be read: {error.strerror}") from error
