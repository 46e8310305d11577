"""``labelloop train`` and ``labelloop stage``: whole runs on real pictures, outside Label Studio and Redis."""

import fcntl
import html
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labelloop.bundle_info import INT8_BACKBONE, NetworkInfo
from labelloop.cli import main, settings_table
from labelloop.errors import LeaseLost
from labelloop.files import multiplies_bytes
from labelloop.kinds.image_classification.analysis import analyse, write_order
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.opening import open_store
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import recorded_settings
from labelloop.settings import Settings
from labelloop.types import Arm, ProjectKey
from support.bundles import checked
from support.digit_pictures import write_digits
from support.mlflow_server import mlflow_server
from support.picture_server import picture_server
from support.servers import free_port

pytestmark = pytest.mark.train

PROJECT = ProjectKey("local", 1)
SMALL = ["--model", "test_resnet", "--weights", "none", "--image-size", "32", "--epochs", "2", "--recipe", "finetune"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "train", range(60), classes=3)
    write_digits(folder / "test", range(60, 100), classes=3)
    return folder


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "machine"))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def versions(machine: Path) -> Versions:
    return Versions(store_of(machine), PROJECT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A machine with a whole run, made by one command."""
    folder = tmp_path_factory.mktemp("made")
    places = ["--train-location", str(pictures / "train"), "--test-location", str(pictures / "test")]
    with pytest.MonkeyPatch.context() as environment:
        for row in settings_table():
            environment.delenv(row["name"], raising=False)
        environment.setenv("MODEL_DIR", str(folder / "machine"))
        answer = run("train", "--run", str(folder / "run"), *places, *SMALL)
    assert answer.exit_code == 0, answer.output
    return folder


@pytest.fixture
def trained(machine: Path, made: Path) -> Path:
    """A copy of that machine and its run."""
    shutil.copytree(made, machine, dirs_exist_ok=True)
    return machine / "run"


def store_of(machine: Path) -> Store:
    return open_store((machine / "machine" / "store").as_uri())


# Another whole run in a process of its own: that the command of a report names the very same run is told by the
# contract tests of retraining, and that the same run gives the same model by the unit tests of the trainer.
@pytest.mark.slow
def test_the_command_in_its_report_makes_the_run_again(machine: Path, made: Path) -> None:
    report = (made / "run" / "report.html").read_text()
    command = html.unescape(report.partition("<pre><code>")[2].partition("</code></pre>")[0])
    environment = {name: value for name, value in os.environ.items() if name != "MODEL_DIR"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=machine, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    first, again = (
        json.loads((folder / "bundle" / "model.json").read_text()) for folder in (made / "run", machine / "RUN")
    )
    assert again["files"]["model.safetensors"] == first["files"]["model.safetensors"]
    assert not (machine / "RUN" / "verdict.json").exists()


def test_a_version_keeps_what_it_was_trained_with(machine: Path, trained: Path) -> None:
    record = versions(machine).get("v1")
    info = checked(trained / "bundle")

    found = recorded_settings(record.trained_with, info)
    assert (found.backbone, found.weights, found.image_size, found.epochs) == ("test_resnet", "none", 32, 2)
    older = recorded_settings({}, info)
    assert (older.backbone, older.weights, older.image_size) == ("test_resnet", "none", 32)
    moved = {**record.trained_with, "weights": str(machine / "gone.safetensors"), "weights_hash": "ab"}
    assert recorded_settings(moved, info).weights == "none"


def test_a_run_makes_a_version_with_everything_that_explains_it(machine: Path, trained: Path) -> None:
    record = versions(machine).get("v1")
    assert record.promoted
    assert "v1 becomes the first champion" in record.verdict
    assert ChampionPointer(store_of(machine), PROJECT).read().champion == "v1"
    assert check_bundle(trained / "bundle").classes == ("0", "1", "2")
    metrics = json.loads((trained / "evaluation" / "metrics.json").read_text())
    assert metrics["items"] == json.loads((trained / "data.json").read_text())["sides"]["test"]["items"] == 40
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    info = json.loads((trained / "run.json").read_text())
    assert list(info["stages"]) == ["fetch", "preprocess", "train", "evaluate", "register", "report"]
    assert info["peak_memory_bytes"] > 1e8
    report = versions(machine).read_report("v1").decode()
    assert report == (trained / "report.html").read_text()
    assert "v1 becomes the first champion" in report
    again = run("train", "--run", str(trained))
    assert again.exit_code == 0, again.output
    assert again.output.count("done before") == 4
    assert versions(machine).names() == ["v1"]
    other = run("train", "--run", str(trained), "--epochs", "3")
    assert other.exit_code == 1
    assert "epochs=2, and now epochs=3" in other.output


def test_a_versions_events_are_kept_with_it(machine: Path, trained: Path) -> None:
    kept = machine / "kept"
    assert versions(machine).fetch_events("v1", kept) == 2
    written = trained / "tensorboard"
    files, found = (
        {path.parent.relative_to(folder): path.read_bytes() for path in folder.rglob("events.*")}
        for folder in (written, kept)
    )
    assert found == files


def test_mlflow_has_every_version_once_under_tensorboards_names(
    machine: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server() as tracked:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.address)
        for _ in range(2):
            assert run("stage", "report", "--run", str(trained)).exit_code == 0
    assert list(tracked.experiments) == ["labelloop/local/1"]
    (found,) = tracked.runs.values()
    assert (found["name"], found["status"]) == ("v1", "FINISHED")
    record, measured = versions(machine).get("v1"), json.loads((trained / "evaluation" / "metrics.json").read_text())
    assert found["tags"]["labelloop.run"] == record.run
    assert found["tags"]["labelloop.verdict"] == record.verdict
    assert found["metrics"]["test/accuracy", 0] == pytest.approx(measured["accuracy"]["value"])
    assert {step for name, step in found["metrics"] if name == "finetune/train_loss"} == {1, 2}
    assert found["params"]["backbone"] == "test_resnet"


@pytest.mark.parametrize("broken", ["runs/log-batch", "everything"])
def test_an_mlflow_that_fails_costs_the_version_nothing(
    machine: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with mlflow_server() as tracked:
        tracked.refused = broken
        address = tracked.address if broken != "everything" else f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//me:hush@"))
        answer = run("stage", "report", "--run", str(trained))
        assert answer.exit_code == 0
        assert "v1 is not written to MLflow at http://***@127.0.0.1" in answer.output
        assert "hush" not in answer.output
        # What was begun is filled in the next time.
        tracked.refused = ""
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.address)
        assert run("stage", "report", "--run", str(trained)).exit_code == 0
        assert [one["status"] for one in tracked.runs.values()] == ["FINISHED"]


def test_a_worse_model_is_rejected_and_can_be_forced(
    machine: Path, trained: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = machine / "wrong"
    for name, other in (("0", "1"), ("1", "2"), ("2", "0")):
        shutil.copytree(pictures / "train" / name, wrong / other)
    places = ["--train-location", str(wrong), "--test-location", str(pictures / "test")]
    answer = run("train", "--run", str(machine / "second"), *places, *SMALL, "--epochs", "4")
    assert answer.exit_code == 0, answer.output
    assert "v2 is rejected" in answer.output
    assert not versions(machine).get("v2").promoted
    with mlflow_server() as tracked:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.address)
        assert run("stage", "report", "--run", str(machine / "second")).exit_code == 0
        (kept,) = tracked.runs.values()
        assert kept["tags"]["labelloop.gate"] == "rejected"
        forced = run("stage", "register", "--run", str(machine / "second"), "--force")
        assert "promoted by force" in forced.output
        assert (len(tracked.runs), kept["tags"]["labelloop.gate"]) == (1, "promoted")
        assert "promoted by force" in kept["tags"]["labelloop.verdict"]
    assert versions(machine).get("v2").forced
    assert ChampionPointer(store_of(machine), PROJECT).read().champion == "v2"
    assert "promoted by force" in versions(machine).read_report("v2").decode()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "resnet19"], "resnet18"),
        (["--optimizer", "adamm"], "adam"),
        (["--augmentations", "lightly"], "auto, none, light, crop, realistic"),
        (["--balance", "yes"], "auto, none, loss, sampler"),
        (["--recipe", "heads"], "head, finetune"),
        (["--epochs", "none"], "whole number"),
        (["--mixup", "-1"], "LABELLOOP_MIXUP"),
        (["--model", "test_resnet?nonsense=1"], "could not make backbone"),
        (["--model", "test_vit", "--image-size", "33"], "takes no picture of 33 x 33 pixels"),
        (["--weights", __file__], "only safetensors files are read"),
        (["--format", "cvs"], "there are auto, labelloop, imagefolder"),
        (["--project-key", "../1"], "no project key"),
    ],
)
def test_impossible_parameters_are_refused_before_any_work(
    machine: Path, pictures: Path, options: list[str], told: str
) -> None:
    answer = run("train", "--run", str(machine / "run"), "--train-location", str(pictures / "train"), *SMALL, *options)
    assert answer.exit_code == 1
    assert told in answer.output
    assert not (machine / "run").exists()


def test_stages_want_those_before_them(machine: Path) -> None:
    for stage, missing in (("preprocess", "fetch"), ("evaluate", "fetch"), ("register", "fetch")):
        answer = run("stage", stage, "--run", str(machine / "run"), *SMALL)
        assert answer.exit_code == 1
        assert f"run the {missing} stage" in answer.output


def test_a_stage_is_made_anew_when_what_it_was_made_from_changed(machine: Path, trained: Path) -> None:
    sides = json.loads((trained / "sides.json").read_text())
    sides["sides"]["a" * 64] = "train"
    (trained / "sides.json").write_text(json.dumps(sides))
    assert run("stage", "fetch", "--run", str(trained)).output.startswith("fetch: done before")
    assert run("stage", "preprocess", "--run", str(trained)).output.startswith("preprocess: done\n")


def test_a_stage_is_made_anew_when_what_it_wrote_is_gone_or_damaged(trained: Path) -> None:
    (trained / "data.json").unlink()
    (trained / "bundle" / "model.onnx").write_bytes(b"half")
    answer = run("stage", "preprocess", "--run", str(trained))
    assert (answer.exit_code, (trained / "data.json").is_file()) == (0, True)
    assert "done before" not in answer.output
    assert run("stage", "train", "--run", str(trained)).output.startswith("train: done\n")
    assert check_bundle(trained / "bundle")
    assert run("stage", "evaluate", "--run", str(trained)).output.startswith("evaluate: done before")


def test_a_wrong_location_can_be_corrected_until_something_was_fetched(machine: Path, pictures: Path) -> None:
    fetch = ["stage", "fetch", "--run", str(machine / "run"), *SMALL, "--train-location"]
    assert run(*fetch, str(pictures / "trian")).exit_code == 1
    right = run(*fetch, str(pictures / "train"))
    assert right.output.startswith("fetch: 60 labeled pictures"), right.output
    other = run(*fetch, str(pictures / "test"))
    assert "begin another one in another folder" in other.output


def test_what_a_person_should_look_at_is_told_by_the_stage_that_reads_the_labels(machine: Path, pictures: Path) -> None:
    shutil.copytree(pictures / "train", machine / "set/archive")
    for name in ("Cat", "cat"):
        shutil.copytree(next((pictures / "train").iterdir()), machine / "set/archive" / name)
    answer = run("stage", "fetch", "--run", str(machine / "run"), *SMALL, "--train-location", str(machine / "set"))
    told = answer.output.splitlines()
    assert told[0].startswith("fetch: 100 labeled pictures, "), told
    assert told[1] == f"  warning: 'archive' is the only folder of {machine}/set: those in it are taken as the classes"
    assert told[2].startswith("  warning: 'Cat' and 'cat' are different classes")


def test_a_table_whose_columns_are_told_is_read_by_them(machine: Path, pictures: Path) -> None:
    rows = [f"{path},x,{path.parent.name}+more" for path in sorted(pictures.glob("train/*/*.png"))]
    classes = sorted({path.name for path in (pictures / "train").iterdir()}, reverse=True)
    (machine / "list.csv").write_text("\n".join(["where,image,what", *rows, ""]))
    named = [
        "--label-attribute",
        "what",
        "--picture-field",
        "where",
        "--separator",
        "+",
        "--classes",
        ",".join(classes),
    ]
    fetch = ["stage", "fetch", "--run", str(machine / "run"), *SMALL, "--train-location", str(machine / "list.csv")]
    answer = run(*fetch, *named)
    assert answer.exit_code == 0, answer.output
    header, first, *_ = map(json.loads, (machine / "run/manifest.jsonl").read_text().splitlines())
    assert header["classes"] == classes
    assert first["labels"] == [min(classes)]
    assert run(*fetch).output.startswith("fetch: done before")
    assert "begin another one in another folder" in run(*fetch, "--separator", "|").output


def test_what_an_address_may_keep_secret_is_kept_nowhere(
    machine: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELLOOP_ALLOW_PRIVATE_ADDRESSES", "true")
    files = {f"/{at}.png": path.read_bytes() for at, path in enumerate(sorted(pictures.glob("train/*/*.png")))}
    rows = [f"{at}.png,{'ab'[at % 2]}\n" for at in range(len(files))]
    with picture_server({**files, "/list.csv": "".join(["uri,label\n", *rows]).encode()}) as server:
        host = server.address.removeprefix("http://")
        fetch = ["stage", "fetch", "--run", str(machine / "run"), *SMALL]
        answer = run(*fetch, "--train-location", f"http://ann:s3cret@{host}/list.csv?signature=t0psecret")
        again = run(*fetch, "--train-location", f"http://ann:newer@{host}/list.csv?signature=later")
        assert run(*fetch).output.startswith("fetch: done before")
        (machine / "run" / "manifest.jsonl").unlink()
        unknown = run(*fetch)
    assert answer.output.startswith("fetch: 60 labeled pictures"), answer.output
    assert again.output.startswith("fetch: done before")
    assert "Give --train-location again" in unknown.output
    record = json.loads((machine / "run" / "run.json").read_text())
    assert record["parameters"]["train_location"] == f"http://***@{host}/list.csv?***"
    kept = b"".join(path.read_bytes() for path in machine.rglob("*") if path.is_file() and path.suffix != ".png")
    assert b"s3cret" not in kept
    assert b"t0psecret" not in kept
    assert "s3cret" not in answer.output + again.output + unknown.output


def test_one_process_at_a_time_works_in_a_folder(machine: Path, pictures: Path) -> None:
    fetch = ["stage", "fetch", "--run", str(machine / "run"), *SMALL, "--train-location", str(pictures / "train")]
    (machine / "run").mkdir()
    with (machine / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is at work" in run(*fetch).output
    assert run(*fetch).exit_code == 0


def test_a_disk_that_refuses_is_one_line(machine: Path, pictures: Path) -> None:
    (machine / "run" / "manifest.jsonl").mkdir(parents=True)
    (machine / "file").touch()
    fetch = ["stage", "fetch", *SMALL, "--train-location", str(pictures / "train"), "--run"]
    inside, below = run(*fetch, str(machine / "run")), run(*fetch, str(machine / "file" / "run"))
    assert (inside.exit_code, below.exit_code) == (1, 1)
    assert "Error: the fetch stage cannot read or write" in inside.output
    assert "cannot be a run's folder" in below.output


def test_a_registration_cut_off_before_it_promoted_does_not_pass_a_newer_champion(machine: Path, trained: Path) -> None:
    store = store_of(machine)
    (machine / "machine" / "store" / str(PROJECT) / "champion.json").unlink()
    pointer = ChampionPointer(store, PROJECT)
    pointer.promote("v7", pointer.take_fence())
    answer = run("stage", "register", "--run", str(trained))
    assert "it is not promoted, for now v7 is champion" in answer.output
    assert pointer.read().champion == "v7"
    assert run("stage", "register", "--run", str(trained), "--force").exit_code == 0
    assert pointer.read().champion == "v1"


def test_a_lost_lease_ends_an_analysis_and_nothing_else_does(machine: Path, trained: Path) -> None:
    settings = Settings(model_dir=str(machine / "machine"), backbone="test_resnet", weights="none", image_size=32)

    def failing(error: Exception) -> Context:
        def progress(what: str, done: int, total: int) -> None:
            raise error

        return Context(RunFolder(trained), settings, progress)

    with pytest.raises(LeaseLost):
        analyse(failing(LeaseLost("another worker has it")))
    (trained / "evaluation" / "mistakes.json").unlink()
    analyse(failing(RuntimeError("out of memory")))
    assert (trained / "evaluation" / "mistakes.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not multiplies_bytes(), reason="this processor is not one that it is served on")
def test_the_second_head_on_a_backbone_is_compared_in_8_bits(machine: Path) -> None:
    """The first one's report is what makes the backbone's form, so that no head waits for it."""
    write_digits(machine / "train", range(100), classes=3)
    write_digits(machine / "validation", range(100, 220), classes=3)
    descriptions = []
    for seed in ("0", "1"):
        folder = machine / seed
        answer = run(
            *("train", "--run", str(folder), "--train-location", str(machine / "train"), "--seed", seed),
            *("--validation-location", str(machine / "validation")),
            *("--model", "test_resnet", "--weights", "none", "--image-size", "32", "--recipe", "head"),
        )
        assert answer.exit_code == 0, answer.output
        descriptions.append(checked(folder / "bundle"))
    first, second = descriptions
    assert isinstance(first, NetworkInfo)
    assert isinstance(second, NetworkInfo)
    assert first.features == second.features
    assert first.int8 is None
    told = versions(machine).get("v2").metrics["int8"]
    assert told["compared"] >= 120
    assert told["served"] == second.in_8_bits == (second.int8 is not None) == (INT8_BACKBONE in second.files)


def test_labels_that_the_order_chose_are_compared_with_random_ones(machine: Path, trained: Path) -> None:
    from safetensors.torch import save_file
    from timm import create_model

    save_file(create_model("test_resnet").state_dict(), machine / "own.safetensors")
    settings = Settings(
        model_dir=str(machine / "machine"),
        backbone="test_resnet",
        weights=str(machine / "own.safetensors"),
        image_size=32,
    )
    folder = RunFolder(trained)
    sides = Context(folder, settings, lambda *_: None).named_sides
    told = folder.evaluation / "order.json"

    def compare(random: int) -> None:
        context = Context(folder, settings, lambda *_: None)
        tested = [item.task for item in context.manifest.items if sides.get(item.content) == "test"]
        others = {item.task for item in context.manifest.items} - set(tested)
        served: dict[int, Arm] = dict.fromkeys(others, "ordered")
        served.update(dict.fromkeys(tested[:random], "random"))
        context.arms = lambda tasks: {task: served[task] for task in tasks if task in served}
        write_order(context)

    compare(19)
    assert not told.exists()
    compare(25)
    found = json.loads(told.read_text())
    assert (found["labels"], found["besides"], found["items"]) == (20, 24, 25)
    assert found["low"] < found["value"] < found["high"]
    assert "20 labels that it chose" in found["sentence"]


def test_a_judge_says_what_the_gate_would_decide_and_changes_nothing_in_the_store(machine: Path, trained: Path) -> None:
    store = machine / "machine" / "store"

    def held() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}

    before = held()
    answer = run("stage", "judge", "--run", str(trained))
    assert answer.exit_code == 0, answer.output
    verdict = json.loads((trained / "verdict.json").read_text())
    measured = json.loads((trained / "evaluation" / "metrics.json").read_text())
    assert held() == before
    assert verdict["champion"] == "v1"
    assert verdict["sentence"] in answer.output
    assert verdict["promoted"] == int(verdict["passed"])
    assert verdict["macro_f1"] == measured["macro"]["f1"]["value"]
    assert "version" not in verdict

    again = run("stage", "register", "--run", str(trained))
    assert again.exit_code == 0, again.output
    assert json.loads((trained / "verdict.json").read_text())["version"] == "v1", "what was judged can be registered"
