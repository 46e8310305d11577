"""A kind whose votes are regions, as far as a site reads them; it is learned by nobody."""

from labelloop.kinds.base import Says, Supported
from support.numbers_kind import Numbers

NAME = "outlined"


class Outlined(Numbers):
    """Boxes and parts of a text."""

    name = NAME
    says: Says = "regions"
    whoever_trains = False
    label_configs: Supported = (
        ("RectangleLabels", ("Image",)),
        ("Rectangle", ("Image",)),
        ("Labels", ("Text",)),
    )


KIND = Outlined()
