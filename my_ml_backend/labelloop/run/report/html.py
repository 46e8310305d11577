"""Writes the report of a run folder."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from labelloop.models.records import now
from labelloop.run.context import write_text
from labelloop.run.folder import RunFolder
from labelloop.run.report.files import Files
from labelloop.run.report.numbers import moment
from labelloop.run.report.section import Section
from labelloop.run.report.sections import (
    advice,
    augmentations,
    calibration,
    classes,
    confusion,
    curves,
    data,
    explanations,
    figures,
    label_errors,
    mistakes,
    reproduce,
    robustness,
    search,
    verdict,
)

Build = Callable[[Files], Section | None]

_SECTIONS: Sequence[tuple[str, Build]] = (
    ("verdict", verdict.build),
    ("what to do next", advice.build),
    ("key figures", figures.build),
    ("classes", classes.build),
    ("confusion matrix", confusion.build),
    ("worst mistakes", mistakes.build),
    ("likely label errors", label_errors.build),
    ("calibration", calibration.build),
    ("learning", curves.build),
    ("robustness", robustness.build),
    ("explanations", explanations.build),
    ("augmentations", augmentations.build),
    ("data", data.build),
    ("search", search.build),
    ("how to reproduce", reproduce.build),
)

_log = logging.getLogger(__name__)


def write_report(folder: RunFolder) -> Path:
    """Write ``report.html`` from what the folder holds, whole or not at all; what is missing leaves its section out.

    Nothing in a run's files can break the report: a section that cannot be made is named at the end.
    """
    files = Files(folder)
    sections, failed = _sections(files)
    text = (
        _templates()
        .get_template("report.html")
        .render(
            sections=sections,
            state=verdict.state(files.verdict),
            version=files.verdict.get("version") or "",
            project=files.data.get("project") or "",
            recipe=files.bundle.get("recipe") or files.trained.get("recipe") or "",
            backbone=files.bundle.get("backbone") or "",
            created=moment(str(files.record.get("created") or "")),
            written=moment(now()),
            failed=failed + sorted(set(files.unreadable)),
            left_out=files.pictures.left_out,
        )
    )
    # ASCII with references: a label may hold what no encoding can write, half a surrogate pair for one.
    write_text(folder.report, text.encode("ascii", "xmlcharrefreplace").decode("ascii"))
    return folder.report


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
