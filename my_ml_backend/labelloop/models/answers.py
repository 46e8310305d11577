"""What a model that lies elsewhere answered: a file of a version's bundle, by the content of each input."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labelloop.errors import BundleError
from labelloop.types import ANSWERS, ForeignInfo, Json


def write_foreign(directory: Path, info: ForeignInfo, answers: Mapping[str, Json]) -> None:
    """Write the bundle of a model that lies elsewhere, with its answers by the sha256 (hex) of their inputs."""
    directory.mkdir(parents=True, exist_ok=True)
    write_answers(directory / ANSWERS, answers)
    digest = hashlib.sha256((directory / ANSWERS).read_bytes()).hexdigest()
    (directory / "model.json").write_text(replace(info, files={ANSWERS: digest}).to_json())


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
