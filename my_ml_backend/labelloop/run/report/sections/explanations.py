"""Where the version looks."""

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import share
from labelloop.run.report.section import Section
from labelloop.types import Json

_MOST = 24
_WIDTH = 400


def build(files: Files) -> Section | None:
    """Show the pictures that mark what decided."""
    views = (_view(files, one) for one in files.evaluation("explanations.json") or ())
    shown = [view for view in views if view]
    if not shown:
        return None
    return Section(
        "explanations",
        "Explanations",
        "Grad-CAM marks the regions, integrated gradients the pixels that spoke for the prediction. If they mark the "
        "background, the training pictures share backgrounds that tell classes apart: label pictures that do not.",
        {"rows": shown[:_MOST]},
    )


def _view(files: Files, one: Json) -> Json | None:
    pictures = [
        {"uri": uri, "name": name}
        for name, file in (("Grad-CAM", one.get("grad_cam")), ("integrated gradients", one.get("integrated_gradients")))
        if file and (uri := files.picture(f"explanations/{file}", _WIDTH))
    ]
    if not pictures:
        return None
    return {
        "pictures": pictures,
        "kind": one.get("kind", ""),
        "truth": listed(one.get("truth")),
        "predicted": listed(one.get("predicted")),
        "score": share(one.get("score"), 2),
        "right": one.get("kind") == "right",
        "task": files.task_of.get(one.get("picture", "")),
    }


def listed(labels: str | list[str] | None) -> str:
    """Write one label or several."""
    if isinstance(labels, str):
        return labels
    return ", ".join(labels or ()) or "none"
