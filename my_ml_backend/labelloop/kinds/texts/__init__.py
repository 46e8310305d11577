"""What the kinds of texts share: how a text becomes numbers, with a place in the text for each of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.kinds.base import Learned
    from labelloop.models.features import OpenFeatures
    from labelloop.settings import Settings
    from labelloop.types import Item, Progress


class ComparedTexts:
    """What kinds of texts know of how alike two are: a part of their Kind."""

    def nearest(self, asked: "Item", learned: "Learned", progress: "Progress") -> "Sequence[tuple[Item, float]]":
        """Compare texts by the cosine of their mean static embeddings."""
        from labelloop.kinds.texts.likeness import nearest

        return nearest(asked, learned, progress)

    def features(
        self,
        items: "Sequence[Item]",
        settings: "Settings",
        progress: "Progress",
        opens: "OpenFeatures | None" = None,  # noqa: ARG002 - they are made faster than read
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Take the mean static embedding of each text."""
        from labelloop.kinds.texts.likeness import first_features

        return first_features(items, settings, progress)
