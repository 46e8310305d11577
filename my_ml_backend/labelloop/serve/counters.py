"""What the inference server counts beside requests: what it predicts, and which versions it has loaded."""

from collections.abc import Iterator, Sequence

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from labelloop.counters import Counters
from labelloop.serve.refusal import NotReady
from labelloop.serve.registry import Catalog
from labelloop.types import Failure

_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)


class ServeCounters(Counters):
    """Of one process: it is the only one of its server."""

    def __init__(self) -> None:
        super().__init__()
        self._batches = Histogram(
            "labelloop_inference_batch_items",
            "Pictures or texts that the network was given at a time.",
            registry=self.registry,
            buckets=_ITEMS,
        )
        self._seconds_at_work = Histogram(
            "labelloop_inference_batch_seconds",
            "Time at work on them, waiting for others not counted.",
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        )
        self._items = Counter(
            "labelloop_inference_items", "Pictures or texts, by what became of them.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip

    def worked(self, answers: Sequence[object], seconds: float) -> None:
        """Count what the network answered in one go."""
        self._batches.observe(len(answers))
        self._seconds_at_work.observe(seconds)

    def answered(self, answers: Sequence[object]) -> None:
        """Count what a request was answered; what could not be fetched or read among it."""
        failed = sum(isinstance(one, Failure) for one in answers)
        self._items.labels("failed").inc(failed)
        self._items.labels("predicted").inc(len(answers) - failed)


class OfCatalog:
    """Which versions are loaded; of a store's, the project's number, else empty."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterator[Metric]:
        """Look what is loaded."""
        loaded = GaugeMetricFamily(
            "labelloop_inference_loaded_info", "A version that is loaded.", labels=["project", "version"]
        )
        for project, version in self._loaded():
            loaded.add_metric([project, version], 1)
        yield loaded

    def _loaded(self) -> set[tuple[str, str]]:
        try:
            state = self._catalog.state()
        except NotReady:
            return set()
        if "version" in state:
            return {("", str(state["version"]))}
        named = (str(one).split("/") for one in state["loaded"])
        return {(project, version) for *_, project, version in named}
