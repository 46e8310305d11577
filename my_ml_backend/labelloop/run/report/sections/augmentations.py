"""What the network saw of the training pictures."""

from labelloop.run.report.files import Files
from labelloop.run.report.section import Section

_WIDTH = 1000


def build(files: Files) -> Section | None:
    """Show the grid of augmented pictures."""
    uri = files.picture("augmentations.png", _WIDTH)
    if not uri:
        return None
    return Section(
        "augmentations",
        "Augmentations",
        "On the left training pictures as they are, beside them as the network saw them. If a person could not name "
        "the class any more, the augmentations are too strong.",
        {"uri": uri, "policy": files.trained.get("policy", "")},
    )
