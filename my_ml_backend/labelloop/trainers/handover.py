"""The folder that is handed to somebody else's training, and what comes back in it (docs/trainers.md).

The labels of the test side are never in it.
"""

import json
import os
import shutil
import stat
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from labelloop.data.formats.listings import FORMATS, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.data.split import SIDES, Part
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import parse_answer, read_answer
from labelloop.errors import BundleError, EndpointError, ManifestError, TrainingError
from labelloop.files import link_or_copy
from labelloop.models.bundle import bundle_files, check_bundle
from labelloop.sources.media import media_type_of
from labelloop.types import Answer, Failure, Input, Item, Json, Side

if TYPE_CHECKING:
    from labelloop.run.context import Context

ANSWERS, RESULT, BUNDLE = "answers.jsonl", "result.json", "bundle"
"""What the output may hold."""

_TEST = "test.jsonl"
_LEARNED: tuple[Side, ...] = ("train", "validation")
_KEYS = ("model", "notes", "validation", "recipe")


@dataclass(frozen=True, slots=True)
class Result:
    """``result.json``: the ``model``'s name where it lies elsewhere (empty: a bundle was left), and what is said of it.

    ``validation`` maps what was measured on the validation side to numbers, such as ``{"accuracy": 0.93}``.
    """

    model: str = ""
    notes: tuple[str, ...] = ()
    validation: Mapping[str, float] | None = None
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Handover:
    """One such folder."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called to whoever is in whatever folder."""
        return str(self.path.absolute())

    @property
    def output(self) -> Path:
        """Where the training leaves what it has made."""
        return self.path / "output"

    def write(self, context: "Context", key: str, form: str, until: float) -> list[str]:
        """Write all but the output, which is empty then; says what of the labels the format ``form`` cannot carry.

        ``until`` is the time limit (Unix seconds). Raises TrainingError where the format cannot carry these labels.
        """
        self.clear()
        self.output.mkdir()
        manifest = context.manifest
        held: dict[Side, list[Item]] = {side: [] for side in SIDES}
        for side, item in Part(manifest, context.named_sides, SIDES).sided():
            if self._lay_out(context, item):
                held[side].append(item)
        files: dict[Side, str | None] = {}
        lost: list[str] = []
        for side in _LEARNED:
            records = tuple(self._record(side, item) for item in held[side])
            listing = Listing(manifest.choice, manifest.classes, records, kind=manifest.kind)
            files[side], told = self._list(side, listing, form)
            lost += told
        lines = (json.dumps(_bare(item, Path("inputs"))) + "\n" for item in held["test"])
        (self.path / _TEST).write_text("".join(lines), encoding="ascii")
        parameters = {
            "key": key,
            "project": str(manifest.project),
            "kind": manifest.kind,
            "choice": manifest.choice,
            "classes": list(manifest.classes),
            "seed": context.settings.seed,
            "until": round(until, 3),
            "champion": context.champion(),
            "format": form,
            "files": "inputs",
            "train": files["train"],
            "validation": files["validation"],
            "test": _TEST,
            "items": {side: len(found) for side, found in held.items()},
        }
        (self.path / "parameters.json").write_text(json.dumps(parameters, indent=2) + "\n", encoding="ascii")
        return list(dict.fromkeys(lost))

    def clear(self) -> None:
        """Begin anew, with nothing but the lock that whoever is at work here holds."""
        self.path.mkdir(parents=True, exist_ok=True)
        for entry in self.path.iterdir():
            if entry.name != ".lock":
                _remove(entry)
        (self.path / "inputs").mkdir()

    def empty_output(self) -> None:
        """Take away what was left before."""
        _remove(self.output)
        self.output.mkdir(parents=True)

    def _lay_out(self, context: "Context", item: Item) -> bool:
        """Put an item's file among the inputs, and say whether the item is whole."""
        if item.text:
            return True
        source, target = context.pictures.path(item.content), self.path / "inputs" / item.content
        try:
            link_or_copy(source, target)
        except FileNotFoundError:
            return False
        return True

    def _record(self, side: Side, item: Item) -> Record:
        uri = "" if item.text else (self.path / "inputs" / item.content).absolute().as_uri()
        return Record(uri, item.labels, item.task, side, item.content, item.text, item.result, item.confirmed)

    def _list(self, side: Side, listing: Listing, form: str) -> tuple[str | None, list[str]]:
        """Write the labels of a side; gives the file's name, None where the side has no items."""
        if not listing.records:
            return None, []
        name = side + FORMATS[form].suffix
        try:
            return name, write_listing(listing, self.path / name, form)
        except ManifestError as error:
            raise TrainingError(f"the {side} side cannot be handed to the trainer as {form}: {error}") from error

    def result(self) -> Result:
        """Read what the training has left; raises TrainingError where that is nothing, or not as agreed."""
        self._require_confined()
        has_bundle = (self.output / BUNDLE).is_dir()
        if not (self.output / RESULT).is_file():
            if has_bundle:
                return Result()
            raise TrainingError(
                f"the trainer left neither {RESULT} nor {BUNDLE}/ in {self.output}: what came of it is not known"
            )
        found = _result(self.output / RESULT)
        if bool(found.model) == has_bundle:
            raise TrainingError(
                f"{self.output / RESULT} names {'a' if has_bundle else 'no'} model, and there is "
                f"{'a' if has_bundle else 'no'} {BUNDLE}/ beside it: leave the one or the other"
            )
        return found

    def answers(self, inputs: "RunInputs", model: str, classes: tuple[str, ...]) -> dict[str, Answer | Failure]:
        """Read what the training itself asked its model, by the sha256 of the inputs; of others nothing is read.

        Raises TrainingError.
        """
        path = self.output / ANSWERS
        if not path.is_file():
            return {}
        said = dict(_by_content(path.read_bytes(), str(path)))
        known = inputs.among(said)
        if not known:
            return {}
        body = json.dumps({"predictions": [said[content] for content in known.contents]}).encode()
        return dict(zip(known.contents, _read(body, known, model, classes, str(path)), strict=True))

    def _require_confined(self) -> None:
        """Refuse an output of anything but folders and plain files, for a link may lead anywhere."""
        for path in (self.output, *_below(self.output)):
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                raise TrainingError(f"the trainer left {path}, which is no plain file: nothing of its output is taken")


class RunInputs(Sequence[Input]):
    """The inputs of items, each read when it is taken, so that they never are in memory together."""

    def __init__(self, context: "Context", items: Sequence[Item]) -> None:
        self._context, self._items = context, items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Input: ...
    @overload
    def __getitem__(self, at: slice) -> "RunInputs": ...
    def __getitem__(self, at: int | slice) -> "Input | RunInputs":
        if isinstance(at, slice):
            return RunInputs(self._context, self._items[at])
        item = self._items[at]
        if item.text:
            return Input(text=item.text)
        content = next(self._context.contents((item,)))
        return Input(content, media_type_of(content))

    @property
    def contents(self) -> list[str]:
        """The sha256 (hex) of each."""
        return [item.content for item in self._items]

    def among(self, contents: Container[str]) -> "RunInputs":
        """Give those of these contents (sha256, hex)."""
        return RunInputs(self._context, [item for item in self._items if item.content in contents])


def take_bundle(context: "Context", source: Path) -> str:
    """Copy a bundle that a training left to its place, and give its recipe; raises TrainingError where it is none."""
    manifest = context.manifest
    try:
        info = check_bundle(source)
    except BundleError as error:
        raise TrainingError(f"the trainer left a bundle that cannot be used: {error}") from error
    if (info.kind, info.choice) != (manifest.kind, manifest.choice):
        raise TrainingError(
            f"the trainer left a bundle for {info.kind}, {info.choice} choice; the labels are for {manifest.kind}, "
            f"{manifest.choice} choice"
        )
    shutil.rmtree(context.folder.bundle, ignore_errors=True)
    context.folder.bundle.mkdir(parents=True)
    for name in bundle_files(source):
        shutil.copyfile(source / name, context.folder.bundle / name)
    return info.recipe


def write_items(inputs: Sequence[Input], contents: Sequence[str], folder: Path, target: Path) -> None:
    """Write what is asked of ``predict``: a line for each input, files in a folder."""
    with target.open("w", encoding="ascii") as lines:
        for content, one in zip(contents, inputs, strict=True):
            if one.text is None:
                (folder / content).write_bytes(one.content)
            lines.write(json.dumps(_bare(Item(0, content, (), one.text or ""), folder)) + "\n")


def read_predictions(
    output: str, contents: Sequence[str], inputs: Sequence[Input], model: str, classes: tuple[str, ...]
) -> list[Answer | Failure]:
    """Read what ``predict`` answered to inputs, by their sha256, in any of the answer formats (docs/formats.md).

    It is one answer to all of them, as an endpoint gives it, or a line for each: in order, or naming the ``content``.
    Raises TrainingError.
    """
    whose = "what predict wrote"
    body = output.encode(errors="surrogatepass")
    if not _is_one(body):
        body = json.dumps({"predictions": _in_order(body, contents, whose)}).encode()
    return _read(body, inputs, model, classes, whose)


def _in_order(body: bytes, contents: Sequence[str], whose: str) -> list[Any]:
    values = list(_lines(body, whose))
    if not values or not all(isinstance(value, dict) and "content" in value for _, value in values):
        return [value for _, value in values]
    said = dict(_by_content(body, whose))
    return [said.get(content, {"error": "predict gave no answer to it"}) for content in contents]


def _is_one(body: bytes) -> bool:
    """Whether it is one answer to all, and not a line for each."""
    try:
        value = parse_answer(body)
    except EndpointError:
        return False
    return not isinstance(value, dict) or "content" not in value


def _read(
    body: bytes, inputs: Sequence[Input], model: str, classes: tuple[str, ...], whose: str
) -> list[Answer | Failure]:
    try:
        return read_answer(body, Asked(inputs, version=model, classes=classes))
    except EndpointError as error:
        raise TrainingError(f"{whose} cannot be read as answers to {len(inputs)} items: {error}") from error


def _by_content(body: bytes, whose: str) -> Iterator[tuple[str, Any]]:
    for number, value in _lines(body, whose):
        content = value.pop("content", None) if isinstance(value, dict) else None
        if not isinstance(content, str):
            raise TrainingError(f'{whose}, line {number}: it must be an object with "content", the sha256 of an input')
        yield content, value.get("answer", value)


def _lines(body: bytes, whose: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            try:
                yield number, parse_answer(line)
            except EndpointError as error:
                raise TrainingError(f"{whose}, line {number}: {error}") from error


def _bare(item: Item, folder: Path) -> Json:
    """Say of an item what may be known of it by who is tested on it."""
    return {"content": item.content, **({"text": item.text} if item.text else {"file": str(folder / item.content)})}


def _result(path: Path) -> Result:
    try:
        found = parse_answer(path.read_bytes())
    except EndpointError as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise TrainingError(f"{path} must be a JSON object with {', '.join(_KEYS)}")
    if unknown := sorted(set(found) - set(_KEYS)):
        raise TrainingError(f"{path} has an unknown key {unknown[0][:40]!r}; known are {', '.join(_KEYS)}")
    model, notes, validation = found.get("model", ""), found.get("notes", []), found.get("validation", {})
    if not isinstance(model, str) or not isinstance(found.get("recipe", ""), str):
        raise TrainingError(f"{path}: model and recipe must be texts")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise TrainingError(f"{path}: notes must be a list of texts")
    if not isinstance(validation, dict) or not all(map(_is_number, validation.values())):
        raise TrainingError(f'{path}: validation must be an object of numbers, as in {{"accuracy": 0.93}}')
    return Result(model, tuple(notes), validation, found.get("recipe", ""))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _below(folder: Path) -> Iterable[Path]:
    """Give all that lies below a folder; what a link leads to does not."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
