"""What a kind says of features that takes none of its items early, and compares no tasks by any."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelloop.errors import TrainingError
from labelloop.types import Item, Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.kinds.base import FeatureTaker
    from labelloop.models.features import OpenFeatures
    from labelloop.settings import Settings


class Featureless:
    """These methods of a Kind, for one that does not know better."""

    name: str

    def featured(self, settings: "Settings") -> str:  # noqa: ARG002
        """Say that none are taken early."""
        return ""

    def taker(self, settings: "Settings") -> "FeatureTaker":  # noqa: ARG002
        """Refuse."""
        raise TrainingError(f"{self.name} has no features that are taken early")

    def features(
        self,
        items: Sequence[Item],  # noqa: ARG002
        settings: "Settings",  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
        opens: "OpenFeatures | None" = None,  # noqa: ARG002
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Refuse."""
        raise TrainingError(f"{self.name} has no features that tasks could be compared by")
