"""What a kind says of features that takes none of its items early, and compares no tasks by any."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelloop.errors import TrainingError
from labelloop.types import Item, Progress

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from labelloop.bundle_info import BundleInfo
    from labelloop.kinds.base import FeatureTaker
    from labelloop.models.features import OpenFeatures
    from labelloop.settings import Settings


class Featureless:
    """These methods of a Kind, for one that does not know better."""

    name: str
    begins_with: tuple[str, ...] = ()

    def featured(self, settings: "Settings", network: str = "") -> str:  # noqa: ARG002
        """Say that none are taken early."""
        return ""

    def taker(self, settings: "Settings", network: "Path | None" = None) -> "FeatureTaker":  # noqa: ARG002
        """Refuse."""
        raise TrainingError(f"{self.name} has no features that are taken early")

    def network_files(self, info: "BundleInfo") -> tuple[str, ...]:  # noqa: ARG002
        """Name none: no last layer is learned."""
        return ()

    def features(
        self,
        items: Sequence[Item],  # noqa: ARG002
        settings: "Settings",  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
        opens: "OpenFeatures | None" = None,  # noqa: ARG002
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Refuse."""
        raise TrainingError(f"{self.name} has no features that tasks could be compared by")
