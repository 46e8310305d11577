"""Training by a custom job of Vertex AI: labels and pictures go there, the run comes back, nothing is done twice."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.shards import unpack
from labelloop.environment import environment_of
from labelloop.errors import CloudDenied, CloudError, SettingsError, TrainerAway, TrainingError
from labelloop.kinds.base import find
from labelloop.loop import startup
from labelloop.models.bundle import check_bundle
from labelloop.models.file_store import FileStore
from labelloop.models.versions import Versions
from labelloop.run.context import Labeled
from labelloop.run.driver import Run
from labelloop.run.folder import RunFolder
from labelloop.setting_values import trainer_address, whole_addresses
from labelloop.settings import Settings
from labelloop.trainers.base import Trainer
from labelloop.trainers.opening import open_trainer
from labelloop.types import ANNOTATIONS, IMAGES, Item
from support.crash_store import Killed
from support.digit_pictures import write_digits
from support.google import LOCATION, PROJECT, StandIn
from support.google.jobs import Job
from support.google.kills import dying_at
from support.google.wire import Refused
from support.own_runs import NOT_TAKEN, RunMachine
from support.own_runs import PROJECT as OURS
from support.waiting import wait_until

BUCKET = "team"
ADDRESS = f"vertex-job://{PROJECT}/{LOCATION}"
BASE = "labelloop/vertex-job"
USUAL: dict[str, Any] = {
    "trainer": f"{ADDRESS}?machine=n1-standard-4",
    "google_training_image": "europe-west4-docker.pkg.dev/shop-1/labelloop/worker:1",
    "google_folder": f"gs://{BUCKET}/labelloop",
    "weights": "none",
}


@dataclass
class Machine(RunMachine):
    """A project's runs on this machine, trained by custom jobs; what they would make is baked here."""

    google: StandIn = field(kw_only=True)

    @property
    def trainer(self) -> Trainer:
        return open_trainer(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """The settings as variables, beside which the stand-in's stay."""
        return environment_of(self.settings) | self.google.environment

    def start(self, run: Run) -> str:
        """Begin a job, which gets no machine."""
        self.google.jobs.hold()
        run.handle = self.trainer.start(run.context, run.key)
        return run.handle

    def read(self, name: str) -> bytes:
        return self.google.storage.read(BUCKET, f"{BASE}/{name}")

    def leave(self, run: Run, change: Callable[[RunFolder], None] = lambda _: None) -> RunFolder:
        """Make the run elsewhere, leave it where its job would, and let that end."""
        folder = self.baked(f"baked-{run.folder.path.name}", change)
        for file in (one for one in folder.path.rglob("*") if one.is_file()):
            name = f"{BASE}/runs/{run.key}/run/{file.relative_to(folder.path)}"
            self.google.storage.put(BUCKET, name, file.read_bytes())
        self.job.become("SUCCEEDED")
        return folder

    @property
    def job(self) -> Job:
        return self.google.jobs.newest()

    def jobs(self) -> list[str]:
        """Say of each job of our run what became of it, the oldest first."""
        return [one.state for one in self.google.jobs.jobs.values()]


@pytest.fixture
def machine(google: StandIn, tmp_path: Path) -> Machine:
    google.bucket(BUCKET)
    return Machine(tmp_path, USUAL, google=google)


def test_labels_and_shards_are_handed_over_once_and_the_arguments_are_the_runs(
    machine: Machine, tmp_path: Path
) -> None:
    gpus = "gpu=NVIDIA_TESLA_T4&gpus=2&spot=yes&disk=200"
    machine.given = {
        "trainer": f"{ADDRESS}?machine=n1-standard-16&{gpus}",
        "google_service_account": "jobs@shop-1.iam.gserviceaccount.com",
        "batch_size": 8,
        "recipes": ("finetune",),
        "min_labels": 3,
        "training_seconds": 7200.0,
    }
    run = machine.make("fetch", "preprocess")

    name = machine.start(run)

    assert name.startswith(f"projects/{PROJECT}/locations/{LOCATION}/customJobs/")
    spec = machine.job.spec
    (pool,) = spec["workerPoolSpecs"]
    machines = {"machineType": "n1-standard-16", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 2}
    assert pool["machineSpec"] == machines
    assert (pool["replicaCount"], pool["diskSpec"]) == ("1", {"bootDiskSizeGb": 200})
    assert spec["scheduling"] == {"timeout": "7200s", "strategy": "SPOT", "restartJobOnWorkerRestart": True}
    assert spec["serviceAccount"] == "jobs@shop-1.iam.gserviceaccount.com"
    assert spec["baseOutputDirectory"] == {"outputUriPrefix": f"gs://{BUCKET}/{BASE}/runs/{run.key}"}
    container = pool["containerSpec"]
    assert container["imageUri"] == machine.settings.google_training_image
    assert container["env"] == [{"name": "LABELLOOP_MIN_LABELS", "value": "3"}]
    command, *given = container["args"]
    assert (container["command"], command) == (["python", "-m", "labelloop"], "train")
    told = dict(one.removeprefix("--").split("=", 1) for one in given)
    assert told["train-location"] == f"gs://{BUCKET}/{BASE}/source/{run.key}/"
    assert (told["batch-size"], told["recipe"], told["weights"]) == ("8", "finetune", "none")

    assert machine.read(f"source/{run.key}/manifest.jsonl") == run.folder.manifest.read_bytes()
    assert machine.read(f"source/{run.key}/sides.json") == run.folder.sides.read_bytes()
    prefix, *names = json.loads(machine.read(f"source/{run.key}/shards.json"))
    assert prefix == {"prefix": f"gs://{BUCKET}/{BASE}/pictures/"}
    cache, counted = PictureCache(tmp_path / "there"), 0
    for shard in names:
        (tmp_path / shard).write_bytes(machine.read(f"pictures/{shard}"))
        counted += unpack(tmp_path / shard, cache)
    assert counted == 60
    # Another run of the same pictures brings its labels alone.
    before = machine.google.storage.names(BUCKET)
    machine.given["seed"] = 1
    again = machine.make("fetch", "preprocess", name="again")
    machine.start(again)
    new = sorted({*machine.google.storage.names(BUCKET)} - {*before})
    files = ("manifest.jsonl", "shards.json", "sides.json")
    assert new == [f"{BASE}/source/{again.key}/{name}" for name in files]


def test_what_is_no_picture_with_classes_is_refused_before_anything_is_handed_over(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    items = [Item(1, "0" * 64, ("Person",))]
    run.context.labeled = Labeled(Manifest.of(OURS, "multiple", ("Person",), items, kind=ANNOTATIONS))
    with pytest.raises(TrainingError, match="these labels are for annotations: hand them to a pipeline of yours"):
        machine.trainer.start(run.context, "some-key")
    assert machine.google.storage.names(BUCKET) == []
    assert machine.jobs() == []


def test_killed_while_it_hands_over_a_run_begins_once_and_whole(machine: Machine) -> None:
    machine.google.jobs.hold()
    at, cut = 0, True
    while cut:
        machine.given["seed"] = at
        run = machine.make("fetch", "preprocess", name=f"run-{at}")
        with suppress(Killed), dying_at(at, after=at % 2 == 1) as done:
            machine.trainer.start(run.context, run.key)
        cut = len(done) >= at

        name = machine.trainer.start(run.context, run.key)

        assert machine.trainer.find(run.key) == name
        assert len(machine.jobs()) == at // 3 + 1
        place = f"{BASE}/source/{run.key}/"
        kept = [one.removeprefix(place) for one in machine.google.storage.names(BUCKET, place)]
        assert kept == ["manifest.jsonl", "shards.json", "sides.json"]
        at += 3
    assert at > 6


def test_an_answer_that_is_lost_begins_no_second_job(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    machine.google.hang_up("aiplatform:POST customJobs", after=True)
    assert machine.start(run) == machine.job.name
    assert machine.jobs() == ["PENDING"]


def test_one_job_for_a_key_and_one_that_failed_is_begun_anew(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.trainer
    assert trainer.find(run.key) == ""
    first = machine.start(run)
    assert machine.start(run) == first == trainer.find(run.key)
    machine.job.become("FAILED", Refused("INTERNAL", "something"))
    machine.google.storage.put(BUCKET, f"{BASE}/runs/{run.key}/told/failure.txt", b"NaN in epoch 3")
    machine.google.storage.put(BUCKET, f"{BASE}/runs/{run.key}/checkpoints/finetune.pt", b"epoch 3")
    assert trainer.poll(first).reason == "NaN in epoch 3"
    second = machine.start(run)
    assert second != first
    assert trainer.find(run.key) == second
    left = machine.google.storage.names(BUCKET, f"{BASE}/runs/")
    assert left == [f"{BASE}/runs/{run.key}/checkpoints/finetune.pt"], "it goes on from there, and says nothing old"
    trainer.cancel(second)
    wait_until(lambda: machine.job.state == "CANCELLED", lambda: machine.job.state)
    assert trainer.poll(second).reason.startswith("it was stopped")
    trainer.cancel(second)
    machine.start(run)
    assert machine.jobs() == ["FAILED", "CANCELLED", "PENDING"]


def test_how_it_stands_is_told_as_the_container_tells_it(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    handle, trainer = machine.start(run), machine.trainer
    assert trainer.poll(handle).what == "waits for a machine of Vertex AI"
    machine.job.become("RUNNING")
    assert trainer.poll(handle).what == "begins"
    told = {"stage": "train", "what": "epochs", "done": 3, "total": 9}
    machine.google.storage.put(BUCKET, f"{BASE}/runs/{run.key}/told/progress.json", json.dumps(told).encode())
    stands = trainer.poll(handle)
    assert (stands.state, stands.what, stands.done, stands.total) == ("running", "train: epochs", 3, 9)
    machine.google.storage.put(BUCKET, f"{BASE}/runs/{run.key}/told/progress.json", b"{")
    assert trainer.poll(handle).state == "running"
    machine.job.become("CANCELLING")
    assert trainer.poll(handle).what == "stopping"
    machine.google.deny("aiplatform.customJobs.get")
    with pytest.raises(TrainerAway, match=r"aiplatform\.customJobs\.get"):
        trainer.poll(handle)
    machine.google.mend()
    stands = trainer.poll(f"{handle}0")
    assert (stands.state, f"{handle}0" in stands.reason) == ("failed", True)


@pytest.mark.parametrize(
    ("state", "message", "says"),
    [
        (
            "FAILED",
            "The following quota metrics exceed quota limits: custom_model_training_t4_gpus",
            "ask Google",
        ),
        ("FAILED", "The replica workerpool0-0 was preempted, and the job is not restarted.", "its last checkpoint"),
        ("FAILED", "The replica workerpool0-0 exited with a non-zero status of 137.", "a machine with more memory"),
        ("FAILED", "Unable to pull image europe-west4-docker.pkg.dev/a/b:1", "LABELLOOP_GOOGLE_TRAINING_IMAGE"),
        ("FAILED", "Permission 'storage.objects.get' denied on resource", "the account that jobs run as"),
        ("FAILED", "", "it ended as FAILED"),
        ("FAILED", "The job timed out.", "LABELLOOP_TRAINING_SECONDS"),
        ("EXPIRED", "", "LABELLOOP_TRAINING_SECONDS"),
    ],
)
def test_why_it_failed_is_told_with_what_helps(machine: Machine, state: str, message: str, says: str) -> None:
    handle = machine.start(machine.make("fetch", "preprocess"))
    machine.job.become(state, Refused("INTERNAL", message) if message else None)
    stands = machine.trainer.poll(handle)
    assert stands.state == "failed"
    assert message.rstrip(".") in stands.reason
    assert says in stands.reason


def test_a_quota_that_is_used_up_is_told_before_anything_costs(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    machine.google.jobs.quota.append("aiplatform.googleapis.com/custom_model_training_cpus")
    with pytest.raises(CloudError, match="custom_model_training_cpus"):
        machine.start(run)
    assert machine.jobs() == []


def test_what_was_measured_there_is_not_measured_again(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    machine.start(run)
    there = machine.leave(run)
    with run.alone():
        run.make("train")

        told = run.make("evaluate")

        run.make("register")
    assert told == "done before"
    assert run.folder.metrics.read_bytes() == there.metrics.read_bytes()
    record = Versions(FileStore(machine.path / "store"), OURS).get("v1")
    assert record.promoted
    assert (record.recipe, record.metrics["test"]["accuracy"]["value"]) == ("head", 1.0)
    assert record.trained_with["backbone"] == "resnet18", "the hyperparameters are ours, wherever it is trained"
    assert run.key == run.context.labeled.key(find(IMAGES).hyperparameters(Settings(weights="none")))


def test_a_job_whose_run_the_bucket_has_forgotten_is_begun_anew(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    first = machine.start(run)
    machine.leave(run)
    assert machine.start(run) == first
    machine.google.storage.buckets.delete(BUCKET, f"{BASE}/runs/{run.key}/run/run.json")
    assert machine.start(run) != first
    assert machine.jobs() == ["SUCCEEDED", "PENDING"]


def test_what_was_measured_from_something_else_is_measured_here(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    machine.start(run)

    def older(folder: RunFolder) -> None:
        record = json.loads(folder.record.read_text())
        record["stages"]["evaluate"] = "0" * 64
        folder.record.write_text(json.dumps(record))

    machine.leave(run, older)
    with run.alone():
        run.make("train")
        assert run.make("evaluate") == "done"


@pytest.mark.parametrize(("change", "says"), NOT_TAKEN)
def test_what_is_not_as_it_should_be_is_not_taken(
    machine: Machine, change: Callable[[RunFolder], None], says: str
) -> None:
    run = machine.make("fetch", "preprocess")
    machine.start(run)
    machine.leave(run, change)
    with pytest.raises(TrainingError, match=says):
        machine.trainer.collect(run.handle, run.context)


def test_an_object_that_would_leave_the_folder_is_refused(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    machine.start(run)
    machine.leave(run)
    machine.google.storage.put(BUCKET, f"{BASE}/runs/{run.key}/run/bundle/../../out", b"x")
    with pytest.raises(CloudError, match="leads out of its folder"):
        machine.trainer.collect(run.handle, run.context)
    assert not run.folder.bundle.exists()


def test_check_names_what_is_missing(machine: Machine) -> None:
    machine.trainer.check(thorough=True)
    machine.google.deny("aiplatform.customJobs.list")
    with pytest.raises(CloudDenied, match=r"aiplatform\.customJobs\.list"):
        machine.trainer.check(thorough=True)
    machine.google.mend()
    machine.google.front.locations = {"us-central1"}
    with pytest.raises(TrainingError, match=f"{ADDRESS} cannot train: .*{LOCATION}"):
        machine.trainer.check(thorough=True)
    machine.google.mend()
    machine.google.revoke()
    with pytest.raises(CloudDenied, match="the credentials are not accepted"):
        machine.trainer.check(thorough=True)
    machine.google.mend()
    machine.given = {"google_folder": "gs://no-such-bucket/labelloop"}
    with pytest.raises(TrainingError, match="no-such-bucket"):
        machine.trainer.check(thorough=True)
    for name, says in (
        ("weights", "LABELLOOP_WEIGHTS names a file of this machine"),
        ("google_training_image", "set LABELLOOP_GOOGLE_TRAINING_IMAGE"),
    ):
        machine.given = {name: "/models/mine.safetensors" if name == "weights" else ""}
        with pytest.raises(TrainingError, match=says):
            machine.trainer.check(thorough=False)
    machine.given = {"google_folder": ""}
    with pytest.raises(SettingsError, match="LABELLOOP_GOOGLE_FOLDER"):
        machine.trainer.check(thorough=False)
    assert machine.jobs() == []


def test_doctor_names_the_permission_that_is_lacking(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    assert f"{ADDRESS} trains (LABELLOOP_TRAINER)" in CliRunner().invoke(main, ["doctor"]).output
    machine.google.deny("aiplatform.customJobs.list")
    said = CliRunner().invoke(main, ["doctor"]).output
    assert "a role with aiplatform.customJobs.list" in " ".join(said.split())


def test_a_worker_starts_though_its_account_was_revoked_but_not_without_the_bucket(machine: Machine) -> None:
    machine.google.revoke()
    assert startup._wrong_training(machine.settings) == ""
    machine.google.mend()
    machine.given = {"google_folder": "gs://no-such-bucket/labelloop"}
    assert "no-such-bucket" in startup._wrong_training(machine.settings)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (f"vertex-job://{PROJECT}", "expected a project and a location"),
        (f"{ADDRESS}/1", "expected a project and a location"),
        (f"vertex-job://{PROJECT}/Europe", "expected a project and a location"),
        (f"{ADDRESS}?machin=X", "knows no option 'machin'. Possible are machine, gpu"),
        (f"{ADDRESS}?parameter.X=Y", "knows no option 'parameter.X'"),
        (f"{ADDRESS}?machine=", "the option machine of .* needs a value"),
        (f"{ADDRESS}?spot=yes&spot=no", "given twice"),
        (f"{ADDRESS}?spot=maybe", "spot=maybe is not yes or no"),
        (f"{ADDRESS}?disk=5", "disk=5 is not the size of a disk"),
        (f"{ADDRESS}?gpu=t4", "gpu=t4 is not an accelerator type"),
        (f"{ADDRESS}?gpus=2", "which they are says gpu="),
        (f"{ADDRESS}?gpu=NVIDIA_H100_80GB", "machine=n1-standard-8 takes no NVIDIA_H100_80GB"),
        (f"{ADDRESS}?machine=a2-highgpu-1g", "has its GPUs built in: name them, gpu=NVIDIA_TESLA_A100"),
        (f"{ADDRESS}?machine=c2-standard-8&gpu=NVIDIA_TESLA_T4", "machine=c2-standard-8 takes no GPU"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_is_possible(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_trainer(Settings(trainer=address, google_folder="gs://bucket/c"))


def test_addresses_in_a_list_stay_whole_whatever_commas_they_hold() -> None:
    listed = "vertex-pipeline://a/b?parameter.X=1,2,vertex-job://a/b,local"
    assert whole_addresses(listed.split(",")) == ("vertex-pipeline://a/b?parameter.X=1,2", "vertex-job://a/b", "local")
    assert trainer_address("vertex-job://a/b?spot=yes") == ""
    assert "vertex-job://PROJECT/LOCATION" in trainer_address("vertex-job://a")


@pytest.mark.slow
@pytest.mark.train
def test_it_really_trains_though_its_machine_is_taken_away_and_comes_back_whole(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_digits(tmp_path / "digits", range(60), classes=3)
    machine.given = {
        "trainer": f"{ADDRESS}?spot=yes",
        "backbone": "test_resnet",
        "image_size": 32,
        "recipes": ("finetune",),
        "epochs": 2,
        "batch_size": 16,
        "training_seconds": 600.0,
        "store": (tmp_path / "store").as_uri(),
    }
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    taken: list[str] = []

    def take(_: Any) -> None:
        """Take the machine away as soon as there is a checkpoint."""
        found = [one for one in machine.google.storage.names(BUCKET) if "/checkpoints/" in one]
        if found and not taken:
            taken.extend(found)
            machine.google.jobs.preempt(machine.job)

    machine.google.before("aiplatform:GET customJobs/*", take, None)

    answer = CliRunner().invoke(
        main, ["train", "--run", str(tmp_path / "run"), "--train-location", str(tmp_path / "digits")]
    )

    assert answer.exit_code == 0, answer.output
    assert taken
    assert machine.job.program.attempts == 2
    assert "evaluate: done before" in answer.output
    folder = RunFolder(tmp_path / "run")
    assert check_bundle(folder.bundle).classes == ("0", "1", "2")
    assert json.loads(folder.trained.read_text())["recipe"] == "finetune"
    report = folder.report.read_text()
    assert "v1" in report
    assert (folder.evaluation / "explanations.json").is_file(), "it is explained there as well"
    (job,) = machine.google.jobs.jobs.values()
    key = json.loads(folder.record.read_text())["key"]
    assert job.request["displayName"] == f"labelloop local/1 {key}"
    assert machine.trainer.find(key) == job.name
