"""What the checks share: the endpoint, its bundle, the pictures, and the answers the bundle gives here."""

from dataclasses import dataclass, field

from labelloop.endpoint_suite.compare import Answers
from labelloop.endpoint_suite.deployed import Deployed
from labelloop.endpoint_suite.samples import Sample
from labelloop.types import BundleInfo, Json


@dataclass(slots=True)
class Suite:
    """One test of one endpoint.

    ``tolerance`` is how far a score may be off, ``latency_ms`` what a request may take (None: as long as it likes).
    ``version``, ``latency`` and ``answers`` are filled in by the checks.
    """

    deployed: Deployed
    info: BundleInfo
    samples: tuple[Sample, ...]
    expected: Answers
    tolerance: float = 1e-3
    latency_ms: float | None = None
    version: str = ""
    latency: Json = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)

    def singles(self) -> Answers:
        """Give the endpoint's answer to every picture by itself, asked for once; raises EndpointError."""
        if not self.answers:
            self.answers = {one.name: self.deployed.ask([one])[0] for one in self.samples}
        return self.answers
