"""The worst mistakes, to look at."""

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import share
from labelloop.run.report.section import Section
from labelloop.run.report.sections.explanations import listed


def build(files: Files) -> Section | None:
    """Show the pictures that the version is most certain and most wrong about."""
    found = files.evaluation("mistakes.json")
    if not found:
        return None
    rows = [
        {
            "uri": files.thumbnail(one["picture"]),
            "task": one["task"],
            "truth": listed(one["truth"]),
            "predicted": listed(one["predicted"]),
            "score": share(one.get("score"), 2),
            "true_score": share(one.get("true_score"), 2),
        }
        for one in found
    ]
    return Section(
        "mistakes",
        "Worst mistakes",
        "Test pictures that the version is most certain, and wrong, about. Open their tasks: either the label is wrong "
        "(correct it) or the picture is of a kind that training lacks (label more like it).",
        {"rows": rows},
    )
