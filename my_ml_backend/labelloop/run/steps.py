"""A stage as a step of a pipeline, in a processing container of SageMaker: what it finds there, and what it leaves.

The run's folder travels from step to step; so do its pictures, in shards (docs/aws.md).
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.places import INPUT, MANIFEST, MODEL, PICTURES, RESULTS, RUN, SHARDS, SIDES, write_shards
from labelloop.data import shards
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import LabelLoopError, NotEnoughLabels, SettingsError
from labelloop.files import whole_folder
from labelloop.models.archive import extract
from labelloop.models.bundle import files
from labelloop.run.container import SAGEMAKER, require_writable
from labelloop.run.context import Labeled, read_json
from labelloop.run.folder import RunFolder
from labelloop.run.handed_over import is_handed_over
from labelloop.run.record import RunInfo
from labelloop.run.source import Source
from labelloop.types import Json

_log = logging.getLogger(__name__)

_MESSAGE_BYTES = 800
"""SageMaker keeps 1,024 bytes of a job's message, in UTF-8; what is written beside it needs some."""


@dataclass(frozen=True, slots=True)
class Step:
    """A processing container: SageMaker's folder, and the job's configuration."""

    root: Path
    job: Json

    @property
    def _data(self) -> Path:
        return self.root / "processing"

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self._data / RUN

    @property
    def work(self) -> Path:
        """The roomiest place for what may be lost."""
        return self._data / "work"

    def take(self, folder: RunFolder, cache: PictureCache) -> None:
        """Take what earlier steps left: the run's folder, pictures, what a training job made.

        Raises Damaged, BundleError, or SettingsError where this user may not write.
        """
        require_writable(self.run, self.work)
        given = self._data / INPUT
        if (given / RUN).is_dir():
            shutil.copytree(given / RUN, folder.path, dirs_exist_ok=True)
        unpack_shards(given / PICTURES, cache)
        model, results = given / MODEL / "model.tar.gz", given / RESULTS / "output.tar.gz"
        if model.is_file():
            shutil.rmtree(folder.bundle, ignore_errors=True)
            with whole_folder(folder.bundle) as partial:
                extract(model, partial, files())
        if results.is_file():
            extract(results, folder.path, (folder.trained.name, folder.record.name), results.name)

    def source(self, folder: RunFolder, location: str) -> Source | None:
        """Give what reads the labels that the loop has handed over; None where the location is another one."""
        if not is_handed_over(location):
            return None
        place = Folder(Account(), location)
        if not place.has(SHARDS):
            return None

        def read(_: object) -> Labeled:
            place.fetch(folder.path, (MANIFEST, SIDES, SHARDS))
            return Labeled.read(folder)

        return read

    def leave(self, stage: str, folder: RunFolder, cache: PictureCache) -> None:
        """Leave what later steps need beside the run's folder, and a message that the pipeline reads."""
        if stage == "fetch" and not (folder.path / SHARDS).is_file():
            self._write_shards(folder, cache)
        self.tell(_MESSAGES[stage](folder) if stage in _MESSAGES else "done")

    def tell(self, message: str) -> None:
        """Give the job a message, or the reason why it failed."""
        target = self.root / "output" / "message"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            line = " ".join(message.split()).encode("utf-8", "replace")[:_MESSAGE_BYTES]
            # Half a letter at the end would fail the job.
            target.write_bytes(line.decode("utf-8", "ignore").encode())
        except OSError as error:
            _log.error("%s cannot be written: %s", target, error.strerror or error)

    def _write_shards(self, folder: RunFolder, cache: PictureCache) -> None:
        target, names = self._data / PICTURES, []
        target.mkdir(parents=True, exist_ok=True)
        manifest = Labeled.read(folder).manifest
        if not manifest.items:
            raise NotEnoughLabels("nothing was fetched that is labeled: there is nothing to train on")
        for one in shards.shards(shards.pictures_of(manifest), cache):
            one.write(cache, target / one.name)
            names.append(one.name)
        (folder.path / SHARDS).write_bytes(write_shards(f"{self._address(PICTURES)}/", names))

    def _address(self, output: str) -> str:
        """Say where in S3 an output of the job goes; raises SettingsError where it has none of that name."""
        try:
            outputs = self.job["ProcessingOutputConfig"]["Outputs"]
            found: Mapping[str, Json] = {one["OutputName"]: one for one in outputs}
            return str(found[output]["S3Output"]["S3Uri"]).rstrip("/")
        except (KeyError, TypeError) as error:
            raise SettingsError(
                f"the processing job has no output {output!r}: make it with `labelloop aws pipeline apply`"
            ) from error


_MESSAGES: Mapping[str, Callable[[RunFolder], str]] = {
    "fetch": lambda folder: _info(folder).key,
    "preprocess": lambda folder: _info(folder).manifest,
    "evaluate": lambda folder: str(read_json(folder.trained, "train")["recipe"]),
    "judge": lambda folder: str(read_json(folder.verdict, "judge")["sentence"]),
}
"""What a step tells the pipeline: the run's key, the manifest's hash, the recipe that won, the verdict."""


def _info(folder: RunFolder) -> RunInfo:
    found = RunInfo.read(folder)
    if found is None:
        raise SettingsError(f"{folder.path} holds no run")
    return found


def find_step(environment: Mapping[str, str]) -> Step | None:
    """Find out whether this is a processing container; raises SettingsError where what it is told cannot be read."""
    root = Path(environment.get("SAGEMAKER_BASE_DIR") or SAGEMAKER)
    config = root / "config" / "processingjobconfig.json"
    if not config.is_file():
        return None
    try:
        job = json.loads(config.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{config} cannot be read: {error}") from error
    return Step(root, job)


def unpack_shards(folder: Path, cache: PictureCache) -> None:
    """Take the pictures of all shards in a folder into the cache; raises Damaged naming the first that is not whole."""
    found = sorted(folder.glob(f"*{shards.SUFFIX}"))
    held = sum(shards.unpack(one, cache) for one in found)
    if found:
        _log.info("%d pictures from %d shards", held, len(found))


@contextmanager
def telling(fail: Callable[[str], None]) -> Iterator[None]:
    """Say where the cloud shows it why what is done inside the block failed."""
    try:
        yield
    except LabelLoopError as error:
        fail(str(error))
        raise
    except Exception as error:
        fail(f"{type(error).__name__}: {error}")
        raise
