"""A run's labels for a training that is not ours: lists in a cloud, of pictures that lie there as single objects.

What is said of the test side is which items there are, and nothing else.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.cloud.base import Folder
from labelloop.cloud.objects import for_each, storage_of
from labelloop.cloud.places import source
from labelloop.data.formats.boxes import size_of_file
from labelloop.data.formats.listings import FORMATS, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.data.split import SIDES, Part
from labelloop.errors import ManifestError, TrainingError
from labelloop.sources.media import media_type_of
from labelloop.types import Item, Json, Side

if TYPE_CHECKING:
    from labelloop.run.context import Context

_LOST = "lost.json"
"""What of the labels the format could not carry."""


@dataclass(frozen=True)
class CloudLabels:
    """Hands labels over in a trainer's ``folder``, as lists of a format (``form``).

    ``keys`` are what a line of the test side calls the address of a picture, and a text; ``fit`` gives a picture as the
    trainer takes it.
    """

    folder: Folder
    form: str
    keys: tuple[str, str] = ("uri", "text")
    fit: Callable[[bytes], bytes] = bytes

    def hand_over(self, context: "Context", key: str, wanted: Mapping[Side, str]) -> dict[str, str]:
        """Write the lists of sides, and the pictures they name that are not there yet; gives parameters.

        ``wanted`` names the parameter that takes a side's address. The validation side goes with the training side
        where no parameter takes it; formats that carry sides say which is which.
        """
        held: dict[Side, list[tuple[Side, Item]]] = {side: [] for side in SIDES}
        for side, item in Part(context.manifest, context.named_sides, SIDES).sided():
            if item.text or context.pictures.has(item.content):
                held["train" if side == "validation" and side not in wanted else side].append((side, item))
        self._upload(context, (item for side in wanted for _, item in held[side] if not item.text))
        place, given, lost = self._place(key), {}, []
        with tempfile.TemporaryDirectory(prefix="labelloop-labels-") as folder:
            for side, parameter in wanted.items():
                path, told = self._list(context, side, held[side], Path(folder))
                given[parameter] = place.put_file(path.name, path)
                lost += told
        place.put(_LOST, json.dumps(list(dict.fromkeys(lost))).encode())
        return given

    def lost(self, key: str) -> list[str]:
        """Say what of a run's labels the format could not carry."""
        return [str(what) for what in json.loads(self._place(key).read(_LOST))]

    def _place(self, key: str) -> Folder:
        return self.folder.below(source(key))

    @property
    def _pictures(self) -> Folder:
        """Where pictures are for good, each an object named by its sha256."""
        return self.folder.below("objects")

    def _list(
        self, context: "Context", side: Side, items: Sequence[tuple[Side, Item]], folder: Path
    ) -> tuple[Path, list[str]]:
        """Write the list of a side, and say what of it the format cannot carry."""
        if side == "test":
            path = folder / "test.jsonl"
            path.write_text("".join(f"{json.dumps(self._bare(item))}\n" for _, item in items), encoding="ascii")
            return path, []
        manifest, path = context.manifest, folder / (side + FORMATS[self.form].suffix)
        records = tuple(self._record(context, own, item) for own, item in items)
        listing = Listing(manifest.choice, manifest.classes, records, kind=manifest.kind)
        try:
            return path, write_listing(listing, path, self.form)
        except ManifestError as error:
            raise TrainingError(f"the {side} side cannot be handed over as {self.form}: {error}") from error

    def _record(self, context: "Context", side: Side, item: Item) -> Record:
        """Give an item by its address there; how large its picture is, the file here says."""
        # Without pixels, too, a turned box becomes the upright one around it by the shape of its picture.
        measured = not item.text and (context.manifest.kind in FORMATS[self.form].pixels or '"rotation"' in item.result)
        size = size_of_file(context.pictures.path(item.content).as_uri()) if measured else None
        said = (item.text, item.result, item.confirmed)
        return Record(self._uri(item), item.labels, item.task, side, item.content, *said, size)

    def _uri(self, item: Item) -> str:
        return "" if item.text else f"{self._pictures.uri}/{item.content}"

    def _bare(self, item: Item) -> Json:
        address, text = self.keys
        told = {text: item.text} if item.text else {address: self._uri(item)}
        return {**told, "content": item.content}

    def _upload(self, context: "Context", items: Iterable[Item]) -> None:
        place = self._pictures
        what = f"pictures to {storage_of(place.uri)}"
        new = sorted({item.content for item in items} - set(place.names()))

        def put(name: str) -> None:
            content = self.fit(context.pictures.path(name).read_bytes())
            place.put(name, content, media_type_of(content))

        for_each(put, new, lambda done: context.progress(what, done, len(new)))
