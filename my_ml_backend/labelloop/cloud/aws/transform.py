"""Batch Transform: an object in, an object out, by a job that ends by itself."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence

from labelloop.cloud.aws.account import asking
from labelloop.cloud.aws.answers import Asking
from labelloop.cloud.aws.objects import Folder
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.requests.registry import request_format
from labelloop.endpoints.spec import EndpointSpec, request_parameters
from labelloop.errors import CloudError, CloudMissing, EndpointError
from labelloop.types import Answer, Failure, Input, Json, Progress


class BatchTransform(Asking):
    """By a job for each media type of what is sent: an object in, an object out."""

    @property
    def way(self) -> str:
        """How it is asked."""
        return "Batch Transform"

    def _answers(
        self, package: str, inputs: Sequence[Input], name: str, spec: EndpointSpec, progress: Progress
    ) -> list[Answer | Failure]:
        folder = self.folder.below(name)
        sent = self._send(inputs, folder, spec)
        self.make_model(package, name)
        for media_type in sorted({one[0] for one in sent if not isinstance(one, Failure)}):
            self._transform(name, folder, media_type, lambda: progress("answers by Batch Transform", 0, len(inputs)))
        made = {_base(found): found for found in folder.names() if found.startswith("out/")}
        answers: list[Answer | Failure] = []
        for at, one in enumerate(sent):
            if isinstance(one, Failure):
                answers.append(one)
            elif one[1] not in made:
                answers.append(Failure("Batch Transform left no answer to it: the job's log in CloudWatch says why"))
            else:
                answers.append(_read(folder.read(made[one[1]]), inputs[at], spec))
        return answers

    def _send(self, inputs: Sequence[Input], folder: Folder, spec: EndpointSpec) -> list[tuple[str, str] | Failure]:
        """Write each input as a request, unless it is there; gives media types and names, or why it cannot be sent."""
        form = request_format(spec.request, kind="sagemaker", address="sagemaker://judge")
        parameters, there = request_parameters(spec, form), set(folder.names())
        sent: list[tuple[str, str] | Failure] = []
        for at in range(len(inputs)):
            one = inputs[at]
            if refusal := form.refusal(one):
                sent.append(Failure(refusal))
                continue
            body = form.write([one], parameters)
            name = hashlib.sha256(body.content).hexdigest()
            place = f"in/{_word(body.media_type)}/{name}"
            if place not in there:
                folder.put(place, body.content, body.media_type)
                there.add(place)
            sent.append((body.media_type, name))
        return sent

    def _transform(self, name: str, folder: Folder, media_type: str, tell: Callable[[], None]) -> None:
        """See a job to its end: one that was begun before, or a new one; raises CloudError where it made nothing."""
        client, word = self.account.client("sagemaker"), _word(media_type)
        job = next(self._jobs(f"{name}-{word}", whole=_made(folder, word) >= _sent(folder, word)))
        if job[1] is None:
            with asking(f"Batch Transform job {job[0]}"):
                client.create_transform_job(
                    TransformJobName=job[0],
                    ModelName=name,
                    BatchStrategy="SingleRecord",
                    TransformInput={
                        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{folder.uri}/in/{word}/"}},
                        "ContentType": media_type,
                        "SplitType": "None",
                    },
                    TransformOutput={"S3OutputPath": f"{folder.uri}/out/{word}/", "Accept": "application/json"},
                    TransformResources={"InstanceType": self.instance, "InstanceCount": 1},
                )
        what = f"Batch Transform job {job[0]}"
        seen = self.until(
            lambda: client.describe_transform_job(TransformJobName=job[0]),
            "TransformJobStatus",
            ("InProgress", "Stopping"),
            what,
            tell,
        )
        if seen["TransformJobStatus"] != "Completed" and not _made(folder, word):
            raise CloudError(
                f"{what} ended as {seen['TransformJobStatus']}: {seen.get('FailureReason') or 'no reason'}"
            )

    def _jobs(self, beginning: str, *, whole: bool) -> Iterator[tuple[str, Json | None]]:
        """Give the first job of a name that has not failed; or, with None, a name that none has had."""
        client = self.account.client("sagemaker")
        for number in range(1, 1000):
            job = f"{beginning}-{number}"
            try:
                with asking(f"Batch Transform job {job}"):
                    seen: Json = client.describe_transform_job(TransformJobName=job)
            except CloudMissing:
                yield job, None
                return
            # Of one that was done, and whose answers were just being removed, some may be gone.
            if seen["TransformJobStatus"] == "InProgress" or (whole and seen["TransformJobStatus"] == "Completed"):
                yield job, seen

    def _things(self, name: str) -> Iterator[tuple[str, Callable[[], object]]]:
        yield f"Batch Transform jobs of {name}", lambda: self._stop_jobs(name)
        yield f"{self.folder.uri}/{name}", self.folder.below(name).remove

    def _stop_jobs(self, name: str) -> None:
        client = self.account.client("sagemaker")
        for one in client.list_transform_jobs(NameContains=name, StatusEquals="InProgress")["TransformJobSummaries"]:
            client.stop_transform_job(TransformJobName=one["TransformJobName"])


def _read(body: bytes, one: Input, spec: EndpointSpec) -> Answer | Failure:
    asked = Asked([one], spec.version, spec.classes)
    try:
        return read_answer(body, asked, response=spec.response, mapping=spec.mapping)[0]
    except EndpointError as error:
        return Failure(str(error))


def _sent(folder: Folder, word: str) -> set[str]:
    return {_base(found) for found in folder.below(f"in/{word}").names()}


def _made(folder: Folder, word: str) -> set[str]:
    return {_base(found) for found in folder.below(f"out/{word}").names()}


def _word(media_type: str) -> str:
    """Spell a media type as a part of a job's name."""
    return re.sub(r"[^a-z0-9]+", "-", media_type.partition(";")[0].lower()).strip("-")[:16].strip("-")


def _base(name: str) -> str:
    """Give an object's own name, without the ending that Batch Transform has put behind it."""
    return name.rpartition("/")[2].removesuffix(".out")
