"""What a bundle that finds spans says of itself, in its ``model.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from labelloop.bundle_info import BundleInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanInfo(BundleInfo):
    """``thresholds`` maps labels to the scores from which on their spans are shown."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
