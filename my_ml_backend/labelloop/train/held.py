"""What a model says of pictures that it has not seen, with their truth: what validation and calibration look at."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Held:
    """Logits (n, classes) of pictures that the model, or one made in the same way, has not seen, with their truth."""

    truth: npt.NDArray[np.bool_]
    logits: npt.NDArray[np.floating[Any]]

    def joined(self, other: "Held | None") -> "Held":
        """Give both together."""
        if other is None:
            return self
        return Held(np.concatenate((self.truth, other.truth)), np.concatenate((self.logits, other.logits)))
