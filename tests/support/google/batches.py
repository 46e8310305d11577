"""Batch predictions: each line of files in Cloud Storage is answered by a model, into files of lines.

Time is told by looks: a job is seen PENDING when it is begun, RUNNING ``looks`` times, and then it is over. ``looks``
of None lets it run until the test says ``finish``. What is written differs, as it does at Google: AutoML's models leave
``predictions_00001.jsonl``, where each line has its prediction or its error; containers leave ``prediction.results-*``
with what they answered, and ``prediction.errors_stats-*`` with how many instances failed by which error.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json, chunks
from support.google.front import Route
from support.google.gcs import Objects, split
from support.google.jobs import ENDED, FILTERED, over_quota
from support.google.listing import listed
from support.google.models import Models
from support.google.names import check_display_name, check_labels, check_machine, new_id
from support.google.operations import Operations
from support.google.served import Served
from support.google.wire import Call, Refused, failed, invalid, missing, now, without_nothing

_BATCH = 64
"""Instances of a request to a container, unless the job says another number."""

_LINES = 1000
"""Lines of a file of answers."""


@dataclass
class Batch:
    """One job: what was asked for, and what has become of it."""

    name: str
    told: Json
    model: tuple[str, str]
    looks: int | None
    state: str = "PENDING"
    error: Refused | None = None
    output: str = ""
    answered: int = 0
    refused: list[Refused] = field(default_factory=list)
    left: int = 0
    created: str = field(default_factory=now)
    started: str = ""
    ended: str = ""

    def describe(self) -> Json:
        """Give what Vertex AI answers; numbers that are 0 are left out, as protos in JSON leave them."""
        stats = {"successfulCount": self.answered, "failedCount": len(self.refused), "incompleteCount": self.left}
        counts = {name: str(count) for name, count in stats.items() if count}
        return without_nothing(
            {
                "name": self.name,
                **self.told,
                "modelVersionId": self.model[1],
                "state": f"JOB_STATE_{self.state}",
                "error": self.error.rpc if self.error else None,
                "partialFailures": [one.rpc for one in self.refused[:20]],
                "outputInfo": {"gcsOutputDirectory": self.output} if self.output else None,
                "completionStats": counts,
                "createTime": self.created,
                "startTime": self.started,
                "endTime": self.ended,
                "updateTime": self.ended or self.started or self.created,
            }.items()
        )

    def end(self, state: str, error: Refused | None = None) -> None:
        """It is over."""
        self.state, self.error, self.ended = state, error, now()


@dataclass
class Batches:
    """All batch predictions; ``quota`` are metrics that a new one would exceed."""

    operations: Operations
    objects: Objects
    models: Models
    served: Served
    looks: int | None = 1
    quota: list[str] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)
    _faults: list[Refused] = field(default_factory=list)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        at = "aiplatform:{} batchPredictionJobs{}".format
        kind = "batchPredictionJobs"
        return [
            Route(at("POST", ""), f"{kind}.create", self._create, "BatchPredictionJob", "batch_prediction_job"),
            Route(at("GET", ""), f"{kind}.list", self._list, query=None),
            Route(at("GET", "/*"), f"{kind}.get", self._get),
            Route(at("POST", "/*:cancel"), f"{kind}.cancel", self._cancel),
            Route(at("DELETE", "/*"), f"{kind}.delete", self._delete),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.batches.clear()
        self.quota.clear()
        self._faults.clear()
        self.looks = 1

    def fail(self, status: str, message: str) -> None:
        """Let the next job end FAILED, having answered nothing."""
        self._faults.append(Refused(status, message))

    def finish(self) -> None:
        """Let all that go on be over now."""
        for one in [one for one in self.batches.values() if one.state not in ENDED]:
            one.looks = 0
            self._look(one)

    def states(self) -> list[str]:
        """Say what became of each job, in their order."""
        return [one.state for one in self.batches.values()]

    # What Vertex AI answers.
    def _create(self, call: Call) -> Json:
        told = dict(call.body)
        model, version = self.models.find(told.get("model", ""))
        automl = (model.name, version.number) in self.served.trained
        _check(told, automl=automl)
        if self.quota:
            raise over_quota(*self.quota)
        name = f"{call.parent}/batchPredictionJobs/{new_id()}"
        with self.operations.lock:
            self.batches[name] = Batch(name, told, (model.name, version.number), self.looks)
            return self.batches[name].describe()

    def _list(self, call: Call) -> Json:
        with self.operations.lock:
            found = [one.describe() for one in self.batches.values() if one.name.startswith(f"{call.parent}/")]
            return listed(call, found, "batchPredictionJobs", FILTERED)

    def _get(self, call: Call) -> Json:
        with self.operations.lock:
            found = self._named(call)
            self._look(found)
            return found.describe()

    def _cancel(self, call: Call) -> Json:
        with self.operations.lock:
            found = self._named(call)
            if found.state in ENDED:
                raise failed(f"{found.name} is in state JOB_STATE_{found.state} and cannot be cancelled.")
            found.state = "CANCELLING"
            return {}

    def _delete(self, call: Call) -> Json:
        found = self._named(call)
        if found.state not in ENDED:
            raise failed(f"{found.name} is in state JOB_STATE_{found.state}: cancel it before it is deleted.")

        def delete() -> Json:
            self.batches.pop(found.name, None)
            return {}

        return self.operations.begin("delete", found.name, delete, "DeleteOperationMetadata")

    def _named(self, call: Call) -> Batch:
        if call.resource not in self.batches:
            raise missing("BatchPredictionJob", call.resource)
        return self.batches[call.resource]

    # What happens to a job.
    def _look(self, one: Batch) -> None:
        if one.state in ENDED:
            return
        if one.state == "CANCELLING":
            one.end("CANCELLED", Refused("CANCELLED", "BatchPredictionJob is cancelled."))
            return
        one.state, one.started = "RUNNING", one.started or now()
        if one.looks is None:
            return
        if one.looks:
            one.looks -= 1
            return
        try:
            if self._faults:
                raise self._faults.pop(0)
            self._run(one)
        except Refused as error:
            one.end("FAILED", error)

    def _run(self, one: Batch) -> None:
        """Answer all instances; raises Refused where none is answered."""
        instances = [*self._instances(one.told["inputConfig"]["gcsSource"]["uris"])]
        _, version = self.models.find("@".join(one.model))
        base = one.told["outputConfig"]["gcsDestination"]["outputUriPrefix"].rstrip("/")
        title = version.told["displayName"]
        if one.model in self.served.trained:
            one.output = f"{base}/prediction-{title}-{one.created}"
            lines = [self._line_of_automl(one, instance) for instance in instances]
            self._write(one.output, "predictions_{number:05}.jsonl", lines)
        else:
            one.output = f"{base}/prediction-{title}-{one.created.replace('-', '_').replace(':', '_')}"
            lines = [line for part in self._parts(one, instances) for line in self._lines_of_container(one, part)]
            self._write(one.output, "prediction.results-{index:05}-of-{count:05}", lines)
            said = Counter(refused.message for refused in one.refused)
            self._write(
                one.output, "prediction.errors_stats-{index:05}-of-{count:05}", [[*pair] for pair in said.items()]
            )
        if one.refused and not one.answered:
            raise invalid(f"All instances failed: {one.refused[0].message}")
        one.end("PARTIALLY_SUCCEEDED" if one.refused else "SUCCEEDED")

    def _instances(self, uris: Sequence[str]) -> Iterator[Any]:
        """Read the lines; raises Refused."""
        for uri in uris:
            found = self.objects.matching(uri)
            if not found:
                raise invalid(f"No files match {uri}.")
            for one in found:
                for line in (self.objects.read(one) or b"").splitlines():
                    try:
                        yield json.loads(line)
                    except ValueError:
                        raise invalid(f"A line of {one} is no JSON.") from None

    def _parts(self, one: Batch, instances: Sequence[Any]) -> Iterator[Sequence[Any]]:
        size = one.told.get("manualBatchTuningParameters", {}).get("batchSize", 0) or _BATCH
        return chunks(instances, size)

    def _line_of_automl(self, one: Batch, instance: Any) -> Json:
        """Have what AutoML has trained answer one line, which names a picture."""
        content = self.objects.read(instance["content"])
        try:
            if content is None:
                raise ValueError(f"{instance['content']} is not found")  # noqa: TRY301 - as for what is no picture
            asked = {"instances": [{"content": base64.b64encode(content).decode()}]}
            body = json.dumps({**asked, "parameters": one.told.get("modelParameters") or {}}).encode()
            prediction = json.loads(self.served.trained[one.model]("", body, "application/json"))["predictions"][0]
        except (ValueError, OSError) as error:
            one.refused.append(invalid(f"{instance['content']}: {error}"))
            return {"instance": instance, "error": one.refused[-1].rpc}
        one.answered += 1
        return {"instance": instance, "prediction": prediction}

    def _lines_of_container(self, one: Batch, instances: Sequence[Any]) -> list[Json]:
        """Have a container answer one request; where it does not, all of its instances have failed."""
        key = one.told.get("instanceConfig", {}).get("keyField", "")
        sent = [{name: value for name, value in each.items() if name != key} if key else each for each in instances]
        more = {"parameters": one.told["modelParameters"]} if one.told.get("modelParameters") else {}
        model, version = self.models.find("@".join(one.model))
        body = json.dumps({"instances": sent, **more}).encode()
        told = self.served.ask(model, version, body, {"Content-Type": "application/json"})
        try:
            if told.status_code >= 400:
                raise ValueError(told.get_data(as_text=True))  # noqa: TRY301 - as for an answer of another form
            predictions = json.loads(told.get_data())["predictions"]
            lines = [_named(key, *pair) for pair in zip(instances, predictions, strict=True)]
        except (ValueError, KeyError, TypeError) as error:
            message = f"Post request fails. Cannot get predictions. Error: {str(error)[:500]}"
            one.refused += [invalid(message)] * len(instances)
            return []
        one.answered += len(lines)
        return lines

    def _write(self, folder: str, name: str, lines: Sequence[Any]) -> None:
        """Write lines into files, one of them where there are none."""
        files = [*chunks(lines, _LINES)] or [[]]
        for index, some in enumerate(files):
            content = "".join(json.dumps(line) + "\n" for line in some)
            called = name.format(number=index + 1, index=index, count=len(files))
            self.objects.write(f"{folder}/{called}", content.encode())


def _named(key: str, instance: Any, prediction: Any) -> Json:
    """Write an answer with what was asked, or its key alone."""
    return (
        {"key": instance[key]} | {"prediction": prediction} if key else {"instance": instance, "prediction": prediction}
    )


def _check(told: Json, *, automl: bool) -> None:
    """Refuse what Vertex AI would not begin."""
    check_display_name(told["displayName"])
    check_labels(told.get("labels", {}))
    given, taken = told["inputConfig"], told["outputConfig"]
    if "gcsSource" not in given or "gcsDestination" not in taken:
        raise Refused("UNIMPLEMENTED", "the stand-in reads and writes Cloud Storage, and no BigQuery")
    if given["instancesFormat"] != "jsonl" or taken["predictionsFormat"] != "jsonl":
        raise invalid(f"{given['instancesFormat']} to {taken['predictionsFormat']} is not supported here: jsonl is.")
    for uri in given["gcsSource"]["uris"]:
        split(uri)
    split(taken["gcsDestination"]["outputUriPrefix"])
    if automl:
        return
    if "dedicatedResources" not in told:
        raise invalid("dedicated_resources has to be set: the Model does not support AUTOMATIC_RESOURCES.")
    resources = told["dedicatedResources"]
    check_machine(resources["machineSpec"])
    if resources.get("startingReplicaCount", 1) < 1:
        raise invalid("starting_replica_count has to be at least 1.")
