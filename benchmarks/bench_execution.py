"""What an execution of a SageMaker pipeline costs beyond its training, as far as that is ours.

On the loop's machine: handing labels and pictures over, looking how it stands, taking the run back; the stand-in's own
time, in which it answers one of these calls, is subtracted. In the containers: how much longer each step's process
lives than the stages that it makes, which is starting Python, loading torch and unpacking pictures. A real execution of
digits, trained as a head on ``test_resnet`` on one thread.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

PICTURES = 400
_BUCKET, _NAME = "bench", "bench"
_STEPS = {"Fetch": "fetch", "Preprocess": "preprocess", "Train": "train", "Evaluate": "evaluate", "Judge": "judge"}


def run() -> dict[str, Any]:
    """Measure one execution."""
    from support.aws import REGION, aws_stand_in

    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as name, aws_stand_in(Path(name) / "aws") as aws:
        os.environ.update(aws.environment)
        try:
            place = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
            aws.client("s3").create_bucket(Bucket=_BUCKET, **place)
            return _measured(aws, Path(name))
        finally:
            os.environ.clear()
            os.environ.update(before)


def _measured(aws: Any, folder: Path) -> dict[str, Any]:
    from labelloop.cloud.aws.account import Account
    from labelloop.cloud.aws.applying import apply
    from labelloop.cloud.aws.pipeline_plan import plan_of
    from labelloop.run.driver import Run
    from labelloop.run.folder import RunFolder
    from labelloop.trainers.opening import open_trainer
    from support.aws import REGION
    from support.digit_pictures import write_digits

    write_digits(folder / "digits", range(PICTURES))
    settings = _settings(folder, REGION)
    apply(Account(REGION), plan_of(settings, _NAME, REGION, values={}))
    run = Run(RunFolder(folder / "run"), settings, {"train_location": str(folder / "digits")}, _Quiet(), archive=False)
    for stage in ("fetch", "preprocess"):
        run.make(stage)
    trainer, figures = open_trainer(settings), dict[str, Any]()
    with _own(aws) as spent:
        handle = trainer.start(run.context, run.key)
    figures[f"s to hand over {PICTURES} pictures and start; the stand-in's"] = _pair(spent)
    looks = []
    while True:
        with _own(aws) as spent:
            stands = trainer.poll(handle)
        looks.append(spent["own"])
        if stands.state != "running":
            break
        time.sleep(1)
    if stands.state != "done":
        raise RuntimeError(stands.reason)
    figures[f"ms for a look how it stands, median of {len(looks)}"] = f"{1000 * sorted(looks)[len(looks) // 2]:.0f}"
    with _own(aws) as spent:
        trainer.collect(handle, run.context)
    figures["s to take the run back; the stand-in's"] = _pair(spent)
    return figures | _steps(aws, handle) | {"CPU cores": os.cpu_count()}


def _settings(folder: Path, region: str) -> Any:
    from labelloop.settings import Settings

    return Settings(
        model_dir=str(folder / "model"),
        trainer=f"sagemaker-pipeline://{_NAME}?region={region}",
        aws_role="arn:aws:iam::123456789012:role/bench",
        aws_training_image="worker:1",
        aws_inference_image="inference:1",
        aws_location=f"s3://{_BUCKET}/work",
        backbone="test_resnet",
        weights="none",
        image_size=32,
        recipes=("head",),
    )


def _steps(aws: Any, handle: str) -> dict[str, Any]:
    """Compare how long each step's process lived with the seconds that its stages took, by the run's own record."""
    key = f"work/{_NAME}/executions/{handle.rpartition('/')[2]}/judge/run.json"
    stages = json.loads(aws.client("s3").get_object(Bucket=_BUCKET, Key=key)["Body"].read())["seconds"]
    told = aws.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=handle)["PipelineExecutionSteps"]
    lived = {one["StepName"]: (one["EndTime"] - one["StartTime"]).total_seconds() for one in told}
    figures, beyond = dict[str, Any](), 0.0
    for step, stage in _STEPS.items():
        made = stages.get(stage, 0.0) + (stages.get("report", 0.0) if stage == "evaluate" else 0.0)
        beyond += lived[step] - made
        figures[f"s that step {step} took; its stages alone"] = f"{lived[step]:.1f}; {made:.1f}"
    return figures | {"s of all steps beyond their stages": f"{beyond:.1f}"}


@contextmanager
def _own(aws: Any) -> Iterator[dict[str, float]]:
    """Measure a block: its seconds, less those in which the stand-in answers something."""
    spent: dict[str, float] = {}
    busy, began = aws.busy_seconds, time.perf_counter()
    yield spent
    seconds, theirs = time.perf_counter() - began, aws.busy_seconds - busy
    spent.update(own=seconds - theirs, theirs=theirs)


def _pair(spent: dict[str, float]) -> str:
    return f"{spent['own']:.2f}; {spent['theirs']:.2f}"


class _Quiet:
    """Takes progress and says nothing."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """See Progress."""

    def stage(self, name: str) -> None:
        """See StageReporter."""
