"""Batch prediction of Vertex AI for a project's waiting tasks: a line for each, and a line for each answer.

Lines come back in any order, in files of many: they are read once, into a table on this machine that finds each by its
name.
"""

import json
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from labelloop.cloud.base import Answers, BatchStands
from labelloop.cloud.google.batch import BatchPrediction
from labelloop.endpoints.vertex import DEDICATED_PAYLOAD_BYTES, SHARED_PAYLOAD_BYTES
from labelloop.errors import CloudMissing
from labelloop.types import Json, chunks

_KEY = "key"
"""Field of an instance that holds its name: it is not sent to the model, and comes back with the answer."""

_TOGETHER = 4
"""Instances of one request to the container: of the largest, it takes six."""

_WRITTEN = 1000
"""Answers that are written to the table at a time."""


class PredictionJobs:
    """Implements Batch. ``model`` names the model of a version, and raises CloudError where there is none.

    ``resources`` are what a job runs on (dedicatedResources), ``account`` is who its containers are; empty: Google's
    own. ``dedicated`` says which requests the endpoint takes.
    """

    name = "batch prediction"

    def __init__(
        self, jobs: BatchPrediction, model: Callable[[str], str], resources: Json, account: str, *, dedicated: bool
    ) -> None:
        self._jobs, self._model = jobs, model
        self._more = {"dedicatedResources": resources} | ({"serviceAccount": account} if account else {})
        self.machine = _machine(resources)
        # Larger ones are scaled down for the endpoint, which takes as much.
        self.most_bytes = DEDICATED_PAYLOAD_BYTES if dedicated else SHARED_PAYLOAD_BYTES

    def start(self, key: str, version: str, requests: Iterable[tuple[str, bytes]]) -> str:
        """Write what is asked, and begin the job; see Batch."""
        if before := self._jobs.find(key):
            return before
        model, parameters = self._model(version), dict[str, Json]()

        def instances() -> Iterator[Json]:
            for name, body in requests:
                told = json.loads(body)
                # The same in each.
                parameters.update({"modelParameters": told["parameters"]} if "parameters" in told else {})
                yield {_KEY: name, **told["instances"][0]}

        sent = self._jobs.send(key, instances())
        form = {"instanceType": "object", "keyField": _KEY}
        tuned = {"batchSize": _TOGETHER}
        more = {**self._more, **parameters, "instanceConfig": form, "manualBatchTuningParameters": tuned}
        return self._jobs.start(model, sent, key, more)

    def poll(self, handle: str) -> BatchStands:
        """Say how the job stands; see Batch."""
        try:
            seen = self._jobs.poll(handle)
        except CloudMissing as error:
            return BatchStands("failed", str(error))
        return BatchStands(seen.state, str(seen.error or ""), seen.seconds)

    @contextmanager
    def answers(self, handle: str) -> Iterator[Answers]:
        """Read all answers, and find each by its name; see Batch."""
        try:
            output = self._jobs.poll(handle).output
        except CloudMissing:
            output = ""
        told = self._jobs.results(output) if output else iter(())
        found = ((str(one.instance), json.dumps(one.prediction)) for one in told if not one.error)
        with tempfile.TemporaryDirectory(prefix="labelloop-batch-") as folder:
            table = sqlite3.connect(Path(folder) / "answers", check_same_thread=False)
            with closing(table):
                _fill(table, found)
                yield _finder(table)

    def end(self, key: str) -> None:
        """Stop the job, and remove it and its files; see Batch."""
        self._jobs.end(key)


def _fill(table: sqlite3.Connection, answers: Iterable[tuple[str, str]]) -> None:
    # It is gone with its folder: nothing has to outlive this process.
    table.execute("PRAGMA journal_mode = OFF")
    table.execute("PRAGMA synchronous = OFF")
    table.execute("CREATE TABLE answers (name TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID")
    for some in chunks(answers, _WRITTEN):
        with table:
            table.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", some)


def _finder(table: sqlite3.Connection) -> Answers:
    turn = threading.Lock()

    def find(name: str) -> bytes | None:
        with turn:
            row = table.execute("SELECT answer FROM answers WHERE name = ?", (name,)).fetchone()
        return None if row is None else b'{"predictions": [%b]}' % row[0].encode()

    return find


def _machine(resources: Mapping[str, Json]) -> str:
    """Say on what a job runs."""
    spec = resources["machineSpec"]
    gpus = f" with {spec['acceleratorCount']} x {spec['acceleratorType']}" if "acceleratorType" in spec else ""
    return f"{resources.get('startingReplicaCount', 1)} x {spec['machineType']}{gpus}"
