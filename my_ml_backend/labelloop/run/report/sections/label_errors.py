"""Labels that are likely wrong."""

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import share
from labelloop.run.report.section import Section
from labelloop.run.report.sections.explanations import listed

_MOST = 60


def build(files: Files) -> Section | None:
    """Show where models that had not seen a label are sure of another one."""
    found = files.evaluation("label_errors.json")
    if not found:
        return None
    errors = found.get("errors", [])
    rows = [
        {
            "uri": files.thumbnail(one["picture"]),
            "task": one["task"],
            "given": listed(one["given"]),
            "suggested": listed(one["suggested"]),
            "score": share(one.get("score"), 2),
            "given_score": share(one.get("given_score"), 2),
        }
        for one in errors[:_MOST]
    ]
    return Section(
        "label-errors",
        "Likely label errors",
        "Annotations that contradict a model which had not learned from them, most certain first. Open these tasks "
        "and correct what is wrong: a test label that is wrong costs as much as a bad model.",
        {
            "rows": rows,
            "examined": found.get("examined"),
            "folds": found.get("folds"),
            "total": len(errors),
            "more": max(0, len(errors) - _MOST),
        },
    )
