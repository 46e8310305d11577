"""The report of a run folder as one HTML file, and what fills in the templates of any page."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from labelloop.models.records import now
from labelloop.run.context import write_text
from labelloop.run.folder import RunFolder
from labelloop.run.report import advice, examples, gallery, provenance, scores, trust
from labelloop.run.report.contents import MOST_BYTES, Files, Inline, Section
from labelloop.run.report.numbers import timestamp

Build = Callable[[Files], Section | None]

_SECTIONS: Sequence[tuple[str, Build]] = (
    ("verdict", advice.verdict_section),
    ("what to do next", advice.advice_section),
    ("key figures", scores.figures_section),
    ("classes", scores.classes_section),
    ("confusion matrix", scores.confusion_section),
    ("examples", examples.examples_section),
    ("worst mistakes", gallery.mistakes_section),
    ("likely label errors", gallery.label_errors_section),
    ("calibration", trust.calibration_section),
    ("learning", provenance.curves_section),
    ("more labels", trust.labels_section),
    ("order of tasks", provenance.order_section),
    ("robustness", trust.robustness_section),
    ("explanations", gallery.explanations_section),
    ("augmentations", gallery.augmentations_section),
    ("data", provenance.data_section),
    ("search", provenance.search_section),
    ("how to reproduce", provenance.reproduce_section),
)

_log = logging.getLogger(__name__)


def write_report(folder: RunFolder, picture_bytes: int = MOST_BYTES) -> Path:
    """Write ``report.html`` from what the folder holds, whole or not at all; what is missing leaves its section out.

    Nothing in a run's files can break the report: a section that cannot be made is named at the end. Pictures take
    ``picture_bytes`` as text; what comes after is left out and counted.
    """
    files = Files(folder, Inline(picture_bytes))
    sections, failed = _sections(files)
    text = render_page(
        "report.html",
        sections=sections,
        state=advice.outcome(files.verdict),
        version=files.verdict.get("version") or "",
        project=files.data.get("project") or "",
        recipe=files.bundle.get("recipe") or files.trained.get("recipe") or "",
        backbone=files.bundle.get("backbone") or "",
        created=timestamp(str(files.record.get("created") or "")),
        written=timestamp(now()),
        failed=failed + sorted(set(files.unreadable)),
        left_out=files.pictures.left_out,
        item=files.item,
        items=files.items,
    )
    write_text(folder.report, text)
    return folder.report


def render_page(template: str, **view: object) -> str:
    """Fill in a page's template; what it shows is escaped.

    ASCII with references: a label may hold what no encoding can write, half a surrogate pair for one.
    """
    text = _templates().get_template(template).render(view)
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


@cache
def _templates() -> Environment:
    """Make what compiles the templates, and keep them compiled."""
    return Environment(
        loader=PackageLoader("labelloop.run.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sections(files: Files) -> tuple[list[Section], list[str]]:
    sections, failed = [], []
    for name, build in _SECTIONS:
        try:
            section = build(files)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError):
            _log.warning("the report's section %r cannot be made", name, exc_info=True)
            failed.append(name)
        else:
            if section:
                sections.append(section)
    return sections, failed
