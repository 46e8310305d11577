"""Labels that are no classes of pictures: known by keys, columns and values, and refused by their names."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelloop.errors import ManifestError
from labelloop.types import Json

PLAIN_BOXES, ELLIPSES, POLYGONS, MASKS, KEY_POINTS = "boxes", "ellipses", "polygons", "masks", "key points"
PARTS_OF_TEXTS, PARTS, TRACKS = "parts of texts", "parts of sounds", "parts of videos"
CLASSES_OF_TEXTS, SOUNDS, VIDEOS = "classes of texts", "classes of sounds", "classes of videos"
WORDS, RATINGS, COMPARISONS, DATES, TALKS = "words", "ratings", "comparisons", "dates", "conversations"

_LEARNED = (
    "which LabelLoop cannot learn from a list yet. It learns classes of pictures and of texts, parts of texts and "
    "boxes in pictures; a trainer of your own can learn others from a project of Label Studio (docs/kinds.md)"
)

_READ = {
    CLASSES_OF_TEXTS: ("csv", "jsonl", "label-studio", "augmented", "vertex"),
    PARTS_OF_TEXTS: ("conll", "spacy", "label-studio", "augmented", "vertex"),
    PLAIN_BOXES: ("coco", "voc", "yolo", "csv", "label-studio", "augmented", "vertex"),
}
"""The formats that labels are read from which are learned."""

AS_FOLDERS = "If its folders are classes, name the format: imagefolder"
"""How a folder is read none the less."""


@dataclass(frozen=True, slots=True)
class Other:
    """Labels that are no classes of pictures: what they are, by what they were recognised, and what reads them.

    ``format`` is empty where nothing does, ``instead`` says how the source is read none the less, if it can be.
    """

    labels: str
    seen: str
    format: str = ""
    instead: str = ""


def refused(source: Path | str, other: Other, instead: str = "") -> ManifestError:
    """Make the error that names the labels; ``instead`` goes before what was recognised."""
    remedy = f" {instead or other.instead}." if instead or other.instead else ""
    forms = _READ.get(other.labels)
    why = f"in a form that is not read: write them as {', '.join(forms)} (docs/manifests.md)" if forms else _LEARNED
    return ManifestError(f"{source} holds {other.labels} ({other.seen}), {why}.{remedy}")


Row = tuple[frozenset[str], str, str, str]

_BY_BOXES = "If its boxes are what is to be learned, name the format: coco"


def _row(keys: str, labels: str, format: str = "", instead: str = "") -> Row:
    return frozenset(keys.split()), labels, format, instead


_REGIONS = (
    _row("rle", MASKS),
    _row("imageDataURL", MASKS),
    _row("sequence", TRACKS),
    _row("ranges", TRACKS),
    _row("points", POLYGONS),
    _row("vertices", POLYGONS),
    _row("radiusX", ELLIPSES),
    _row("x y height", PLAIN_BOXES),
    _row("x y", KEY_POINTS),
    _row("startOffset", PARTS_OF_TEXTS),
    _row("start end text", PARTS_OF_TEXTS),
    _row("start end", PARTS),
)
"""What a region of Label Studio marks, by the keys of its value."""

_ANSWERS = (
    _row("selected", COMPARISONS),
    _row("ranker", COMPARISONS),
    _row("rating", RATINGS),
    _row("number", RATINGS),
    _row("datetime", DATES),
    _row("chatmessage", TALKS),
    _row("text", WORDS),
)
"""What is said of a whole task, likewise; ``choices`` and ``taxonomy`` are classes."""

_OBJECTS = (
    # Vertex AI
    _row("imageGcsUri boundingBoxAnnotations", PLAIN_BOXES, "vertex"),
    _row("imageGcsUri polygonAnnotations", POLYGONS),
    _row("imageGcsUri polylineAnnotations", POLYGONS),
    _row("imageGcsUri maskGcsUri", MASKS),
    _row("textSegmentAnnotations", PARTS_OF_TEXTS, "vertex"),
    _row("sentimentAnnotation", RATINGS),
    _row("textContent classificationAnnotation", CLASSES_OF_TEXTS, "vertex"),
    _row("textContent classificationAnnotations", CLASSES_OF_TEXTS, "vertex"),
    _row("textGcsUri classificationAnnotation", CLASSES_OF_TEXTS, "vertex"),
    _row("textGcsUri classificationAnnotations", CLASSES_OF_TEXTS, "vertex"),
    _row("videoGcsUri timeSegmentAnnotations", TRACKS),
    _row("videoGcsUri temporalBoundingBoxAnnotations", TRACKS),
    # COCO
    _row("images annotations image_id num_keypoints", KEY_POINTS, instead=_BY_BOXES),
    _row("images annotations image_id caption", WORDS),
    _row("images annotations image_id segments_info", MASKS),
    _row("images annotations image_id segmentation counts", MASKS, instead=_BY_BOXES),
    _row("images annotations image_id segmentation", POLYGONS, instead=_BY_BOXES),
    _row("images annotations image_id bbox", PLAIN_BOXES, "coco"),
    # CreateML, VGG's and labelme's annotators, doccano, Prodigy, NeMo
    _row("image annotations coordinates", PLAIN_BOXES),
    _row("filename regions shape_attributes", PLAIN_BOXES),
    _row("shapes imagePath points", POLYGONS),
    _row("text entities start_offset", PARTS_OF_TEXTS, "spacy"),
    _row("text spans token_start", PARTS_OF_TEXTS, "spacy"),
    _row("text spans start end", PARTS_OF_TEXTS, "spacy"),
    _row("audio_filepath text", WORDS),
)
"""What a file of JSON holds, by keys that occur in it; the first row counts."""

_JOBS = (
    ("point-cloud", "places in point clouds"),
    ("video", TRACKS),
    ("text-classification", CLASSES_OF_TEXTS),
    ("text-span", PARTS_OF_TEXTS),
    ("classification", ""),
    ("verification", ""),
    ("object-detection", PLAIN_BOXES),
    ("segmentation", MASKS),
)
"""What SageMaker Ground Truth's jobs give, by a part of their type; nothing is classes of pictures."""

_COLUMNS = (
    _row("xmin ymin xmax ymax", PLAIN_BOXES, "csv"),
    _row("x_min y_min x_max y_max", PLAIN_BOXES, "csv"),
    _row("x1 y1 x2 y2", PLAIN_BOXES, "csv"),
    _row("bbox", PLAIN_BOXES, "csv"),
    _row("bbox_x1 bbox_y1", PLAIN_BOXES),
    _row("region_shape_attributes", PLAIN_BOXES),
    _row("encodedpixels", MASKS),
    (frozenset({"pixel value", "class"}), MASKS, "", ""),
    _row("rle", MASKS),
    _row("segmentation", POLYGONS),
    _row("caption", WORDS),
    _row("captions", WORDS),
    _row("transcription", WORDS),
    _row("transcript", WORDS),
)
"""What a table holds, by columns in small letters."""

_NO_TEXTS = re.compile(r"image|img|picture|photo|path|file|ur[il]$|source-ref")
TEXT_NAMES = (
    "text", "sentence", "tweet", "review", "comment", "comment_text", "content", "document", "question", "utterance",
    "body",
)  # fmt: skip
"""Columns and fields of texts, in a list that has none of pictures."""

_TEXT_LABELS = frozenset({"label", "labels", "answer", "accept", "cats", "category", "intent"})
"""Fields of texts' classes."""

_OF_LABEL_STUDIO = frozenset({"annotator", "annotation_id", "lead_time"})
"""Columns of every table that Label Studio exports: what it answers is in its cells."""

_MEDIA = re.compile(
    r"\.((wav|mp3|flac|ogg|opus|m4a|aac|wma)|(mp4|mov|webm|avi|mkv|m4v|mpe?g)|(?:txt|html?|pdf|docx?))(?:[?#]|$)",
    re.IGNORECASE,
)

_FEW_WORDS = 3


def _first(rows: Iterable[Row], keys: Collection[str]) -> str:
    return next((labels for wanted, labels, *_ in rows if wanted <= set(keys)), "")


def of_region(value: object) -> str:
    """Say what one result of Label Studio is, by its value; empty for classes, and for what nobody knows.

    What is chosen for a region has the region's shape beside it, and so is the region's.
    """
    if not isinstance(value, dict):
        return ""
    return _first(_REGIONS, value.keys()) or (
        "" if value.keys() & {"choices", "taxonomy"} else _first(_ANSWERS, value.keys())
    )


def of_address(address: object) -> str:
    """Say what is classified at an address that is no picture's by its name; empty for one that may be."""
    found = _MEDIA.search(address) if isinstance(address, str) else None
    if found is None:
        return ""
    return SOUNDS if found[2] else VIDEOS if found[3] else CLASSES_OF_TEXTS


def of_words(labels: Collection[str], different: Collection[str]) -> str:
    """Tell words from classes where a file does not: no two answers are the same, and most are sentences."""
    several = len(labels) > 1 and len(labels) == len(different)
    return WORDS if several and sum(len(one.split()) for one in labels) >= _FEW_WORDS * len(labels) else ""


def of_job(metadata: object) -> str:
    """Say what a labeling job of SageMaker Ground Truth gave, by the metadata it wrote; empty for classes of pictures.

    A type that is not known is given as it stands.
    """
    kind = metadata.get("type") if isinstance(metadata, dict) else None
    if not isinstance(kind, str):
        return ""
    known = next((labels for part, labels in _JOBS if part in kind), None)
    return f"labels of type {kind[:60]!r}" if known is None else known


def of_keys(keys: Collection[str], seen: str) -> Other | None:
    """Say what a file of JSON holds, by the keys that occur in it, as ``seen`` tells; None for what nobody knows."""
    return next((Other(row[1], seen, *row[2:]) for row in _OBJECTS if row[0] <= set(keys)), None)


def of_object(value: Json) -> Other | None:
    """Recognise one object of a file, such as a line of JSON Lines."""
    seen = f"its keys are {', '.join(value)[:100]}"
    if known := of_keys(set(_keys(value)), seen):
        return known
    for key, metadata in value.items():
        if key.endswith("-metadata") and "source" in value and (job := of_job(metadata)):
            return Other(job, f"by the type in its {key!r}", "augmented")
    if not any(isinstance(value.get(key), str) for key in TEXT_NAMES):
        return None
    inside = [one for key in ("label", "labels") for one in _list(value.get(key))]
    if any(isinstance(one, list | dict) for one in inside) or any(
        isinstance(value.get(key), list) for key in ("entities", "spans")
    ):
        return Other(PARTS_OF_TEXTS, seen, "spacy")
    return Other(CLASSES_OF_TEXTS, seen, "jsonl") if _TEXT_LABELS & value.keys() else None


def of_columns(names: Iterable[str]) -> Other | None:
    """Recognise a table by its header; one of Label Studio's is known by its cells alone."""
    found = {name.strip().lower(): name.strip() for name in names}
    if found.keys() >= _OF_LABEL_STUDIO:
        return None
    for wanted, labels, form, _ in _COLUMNS:
        if wanted <= found.keys():
            return Other(labels, f"in its columns {', '.join(found[name] for name in found if name in wanted)}", form)
    points = [name.removesuffix("_x") for name in found if name.endswith("_x") and f"{name[:-1]}y" in found]
    if len(points) > 1:
        return Other(KEY_POINTS, f"in its columns {points[0]}_x, {points[0]}_y")
    texts = [] if any(map(_NO_TEXTS.search, found)) else [name for name in TEXT_NAMES if name in found]
    return Other(CLASSES_OF_TEXTS, f"of its column {texts[0]}", "csv") if texts and len(found) > 1 else None


def _keys(value: object, depth: int = 4) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (key for key, one in value.items() if one not in ([], {}, None))
    inside = value.values() if isinstance(value, dict) else value[:20] if isinstance(value, list) else ()
    if depth:
        for one in inside:
            yield from _keys(one, depth - 1)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
