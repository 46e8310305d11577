"""The columns of tables: which one names the picture or holds the text, which have labels, sides, tasks and hashes."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from labelloop.data.formats.base import Hints
from labelloop.data.formats.entries import table_header
from labelloop.data.formats.imagefolder import is_picture
from labelloop.data.formats.other_labels import CLASSES_OF_TEXTS, TEXT_NAMES, of_columns
from labelloop.errors import ManifestError

PICTURES = (
    "uri", "url", "image", "image_url", "image_uri", "image_path", "path", "filename", "file_name", "file", "filepath",
    "file_path", "picture", "source-ref", "imagegcsuri", "image_id", "image_name", "imageid", "img", "img_id",
    "img_name", "id", "id_code",
)  # fmt: skip
LABELS = ("labels", "label", "class", "class_name", "classname", "category", "target", "choice")
SIDES = ("side", "split", "set", "subset", "ml_use")
_TASKS = ("task", "task_id")
_HASHES = ("sha256",)
_MEASURES = ("age", "count", "height", "price", "rating", "score", "size", "width")
"""The only column beside that of the pictures has labels, whatever it is called, but for these and more addresses."""

_NUMBERS = {"1": True, "0": False, "-1": False}
"""What a cell of a label's own column says, as a whole number."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what, by its name; empty for none. Inputs are in ``picture``, by address, or ``text``.

    ``classes`` are the columns that are labels themselves, where none has them in its cells; ``guessed`` says that the
    one of labels is the only other column, whatever it is called.
    """

    picture: str
    labels: str
    guessed: bool = False
    classes: tuple[str, ...] = ()
    side: str = ""
    task: str = ""
    sha: str = ""
    text: str = ""


def columns_of(header: str, row: str = "", hints: Hints = Hints()) -> Columns:  # noqa: B008 - immutable
    """Find the columns in a header line; raises ManifestError naming what was found when pictures or labels lack.

    ``row`` is the line after it, by which columns are known that are labels themselves.
    """
    delimiter, names = table_header(header)
    try:
        cells = next(csv.reader([row], delimiter=delimiter), [])
    except csv.Error as error:
        raise ManifestError(f"its second line is no row of a table ({error})") from error
    inputs = column(names, (hints.picture_field,) if hints.picture_field else PICTURES)
    text = _text_column(names, cells, inputs if hints.picture_field else "")
    picture = "" if text else inputs
    labels = column(names, (hints.label_attribute,) if hints.label_attribute else LABELS)
    others = [column(names, wanted) for wanted in (SIDES, _TASKS, _HASHES)]
    classes: tuple[str, ...] = ()
    guessed = bool((picture or text) and not labels and not hints.label_attribute)
    if guessed:
        # Beside a text the number of a row is no label.
        known = (picture, text, *others, *(name for name in names if text and name.lower() in PICTURES))
        rest = tuple(name for name in names if name not in known)
        labels = rest[0] if row and len(rest) == 1 and rest[0].lower() not in (*_MEASURES, *PICTURES) else ""
        answers = [cell for name, cell in zip(names, cells, strict=False) if name in rest]
        classes = rest if len(rest) > 1 and answers and all(said_by(cell) is not None for cell in answers) else ()
    if not (picture or text) or not (labels or classes):
        wanted = hints.picture_field or "uri, path, filename, image"
        raise ManifestError(
            f"its first line must be a header with a column of addresses ({wanted}, ...) or of texts and one of "
            f"labels ({hints.label_attribute or 'label, labels, class'}, ...), or columns of labels with 0 and 1 in "
            f"them; found: {', '.join(names)[:200]!r}"
        )
    side, task, sha = others
    return Columns(picture, labels, guessed, classes, side, task, sha, text)


def said_by(cell: str) -> bool | None:
    """Give what a cell of a label's own column says; None for neither 0 nor 1."""
    return _NUMBERS.get(cell.strip().removesuffix(".0"))


def _text_column(names: Sequence[str], cells: Sequence[str], named: str) -> str:
    """Give the column of texts, empty for none: the one named, where it has no address, else one of a usual name."""
    if named:
        cell = next((cell for name, cell in zip(names, cells, strict=False) if name == named), "")
        usual = named.lower() in TEXT_NAMES or " " in cell.strip()
        return named if usual and "://" not in cell and not is_picture(cell) else ""
    other = of_columns(names)
    return column(names, TEXT_NAMES) if other is not None and other.labels == CLASSES_OF_TEXTS else ""


def column(names: Sequence[str], wanted: Sequence[str]) -> str:
    """Give the first of the wanted columns, as the table spells it; empty for none."""
    found = {name.lower(): name for name in reversed(names)}
    return next((found[name.lower()] for name in wanted if name.lower() in found), "")
