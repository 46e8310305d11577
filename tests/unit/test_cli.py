"""The ``labelloop`` command: shapes of --json, exit codes, errors in one line."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner, Result

import labelloop
from labelloop.cli import main, settings_table
from labelloop.cli.main import error_line
from labelloop.endpoints.answers.read import ANSWER_FORMATS
from labelloop.endpoints.requests.registry import REQUEST_FORMATS
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import ProjectKey
from support.file_bundle import write_bundle

PROJECT = ProjectKey("localhost-8080", 7)
COMMANDS = [
    "adopt",
    "annotators",
    "approve",
    "aws",
    "backup",
    "cancel",
    "connect",
    "demo",
    "deploy",
    "doctor",
    "drift",
    "erase",
    "explain",
    "export",
    "google",
    "label-errors",
    "labelbox",
    "manifest",
    "move",
    "pause",
    "policy",
    "predict",
    "probe",
    "prune",
    "reject",
    "report",
    "restore",
    "resume",
    "retrain",
    "rollback",
    "search",
    "serve",
    "stage",
    "start",
    "status",
    "sweep",
    "tensorboard",
    "test-endpoint",
    "train",
    "versions",
    "web",
    "worker",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of commands whose Redis is not there and whose Label Studio has no key."""
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("LABELLOOP_REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_commands_are_those_that_were_promised() -> None:
    assert main.list_commands(Context(main)) == COMMANDS


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    context = Context(main)
    told = {name: main.get_command(context, name) for name in COMMANDS}
    shown = run("--help").output.partition("\nCommands:\n")[2].partition("\n\n")[0]
    width = 80 - 6 - max(map(len, COMMANDS))

    assert shown.splitlines() == [
        f"  {name:<{max(map(len, COMMANDS))}}  {command.get_short_help_str(width)}"
        for name, command in told.items()
        if command is not None and command.name == name
    ]


def test_help_imports_no_command(tmp_path: Path) -> None:
    code = "import sys; from labelloop.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    loaded = done.stdout.splitlines()[-1].split()
    rooms = {path.parent.name for path in Path(labelloop.__file__).parent.glob("*/__init__.py")}
    assert {name for name in loaded if name.startswith("labelloop.cli.")} == {"labelloop.cli.main"}
    assert rooms & {name.split(".")[1] for name in loaded if name.startswith("labelloop.")} == {"cli"}
    assert not {"numpy", "redis", "requests", "flask", "boto3", "label_studio_sdk"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(folder: Path, command: str) -> None:
    answer = run(command, "--help")
    assert answer.exit_code == 0
    assert answer.output.startswith(f"Usage: main {command} ")
    assert len(answer.output.splitlines()) > 4


def test_help_lists_every_setting() -> None:
    answer = run("--help").output
    assert all(row["name"] in answer for row in settings_table())


@pytest.mark.parametrize(
    ("command", "status"),
    [("serve", os.EX_CONFIG), ("start", os.EX_CONFIG), ("web", os.EX_CONFIG), ("worker", os.EX_CONFIG), ("status", 1)],
)
def test_what_would_be_started_again_says_that_its_settings_cannot_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, status: int
) -> None:
    monkeypatch.setenv("LABELLOOP_SEED", "many")

    answer = run(command)
    assert answer.exit_code == status
    assert "LABELLOOP_SEED" in answer.stderr


@pytest.mark.process
def test_a_worker_of_the_embedded_redis_does_not_wait_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_REDIS_URL", "embedded")
    answer = run("worker")
    assert answer.exit_code == 1
    assert "The embedded Redis of " in answer.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["retrain", "--project", "7"],
        ["retrain", "--project", "7", "--no-wait", "--json"],
        ["sweep", "--project", "7"],
        ["sweep"],
        ["connect", "--project", "7", "--url", "http://here:9090"],
        ["predict", "--project", "7"],
        ["rollback", "--project", "7", "--to", "v9"],
        ["rollback", "--project", "7", "--to", "../x"],
        ["approve", "--project", "7"],
        ["reject", "--project", "7", "../x"],
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_1(folder: Path, arguments: list[str]) -> None:
    answer = run(*arguments)

    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert isinstance(answer.exception, SystemExit)
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "Traceback" not in answer.output
    assert "hush" not in answer.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--project", "0"],
        ["status", "--project", "x"],
        ["retrain"],
        ["nonsense"],
        ["rollback", "--project", "7"],
    ],
)
def test_wrong_usage_is_exit_code_2(folder: Path, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("command", ["explain", "doctor", "sweep", "drift"])
def test_a_command_for_label_studio_says_that_it_takes_no_model_run(folder: Path, command: str) -> None:
    answer = run(command, "--project", "9e3f331a-551b-0e24-6ab5-f69855df64ea/ner")

    assert answer.exit_code == 2
    assert "this command takes no model run of Labelbox" in answer.stderr


def test_a_wrong_setting_is_said_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "many")
    answer = run("status")
    assert (answer.exit_code, answer.stderr.startswith("Error: PORT: 'many' is not a whole number")) == (1, True)


def test_a_wrong_address_of_label_studio_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://[::1")
    answer = run("status", "--project", "7")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: LABEL_STUDIO_URL")


def test_status_of_one_project_needs_no_redis(folder: Path) -> None:
    publish(folder, promoted=True)
    found = json.loads(run("status", "--project", "7", "--json").stdout)

    assert len(found) == 1
    assert {
        "project",
        "champion",
        "announced",
        "missing",
        "trouble",
        "changed",
        "outlook",
        "step",
        "run",
        "queue",
        "endpoint",
        "bootstrap",
        "deployed",
        "drift",
        "predictions",
        "wait",
        "store",
        "workers",
        "opened",
        "waiting",
        "agreement",
        "learning",
        "saved",
        "first_labels",
        "learns",
        "rollback",
        "job",
        "pause",
        "disk",
        "features",
        "loading",
        "challenger",
    } == set(found[0])
    assert (found[0]["project"], found[0]["queue"]) == ("localhost-8080/7", False)
    text = run("status", "--project", "7")
    assert text.exit_code == 0
    assert text.stdout.startswith("project localhost-8080/7: champion none, announced none\n  trouble: Redis cannot")


def publish(folder: Path, *, promoted: bool, **metrics: object) -> None:
    versions = Versions(FileStore(folder / "store"), PROJECT)
    name = versions.claim("run")
    bundle = write_bundle(folder / "bundle")
    versions.publish(
        name, bundle, VersionRecord(name, "run", "head", None, "2026-01-01", promoted, "a verdict", metrics)
    )


def test_versions_are_listed_with_their_states(folder: Path) -> None:
    FileStore(folder / "store").write(f"{PROJECT}/project.json", b"{}")
    assert run("versions", "--project", "7").stdout == "no version yet\n"
    assert json.loads(run("versions", "--project", "7", "--json").stdout) == []
    publish(folder, promoted=True)
    pointer = ChampionPointer(FileStore(folder / "store"), PROJECT)
    pointer.promote("v1", pointer.take_fence())

    assert run("versions", "--project", "7").stdout == "v1   champion  head       a verdict\n"
    found = json.loads(run("versions", "--project", "7", "--json").stdout)
    assert [(one["version"], one["state"], one["promoted"]) for one in found] == [("v1", "champion", True)]


def test_a_version_that_is_served_in_8_bits_is_listed_as_one(folder: Path) -> None:
    FileStore(folder / "store").write(f"{PROJECT}/project.json", b"{}")
    publish(folder, promoted=True, int8={"served": True, "compared": 240, "agreement": 0.99583})
    told = run("versions", "--project", "7").stdout
    assert "a verdict; served in 8 bits, which answered 99.6% of 240 pictures alike" in told


@pytest.mark.parametrize(
    "command",
    [("status",), ("versions",), ("retrain", "--no-wait"), ("rollback", "--to", "v1"), ("report", "--version", "v1")],
    ids=lambda it: it[0],
)
def test_a_project_that_nobody_knows_does_not_look_healthy(folder: Path, command: tuple[str, ...]) -> None:
    answer = run(command[0], "--project", "999", *command[1:])

    assert answer.exit_code == 1
    assert "project 999 has not been connected here" in answer.stderr


def test_a_project_is_paused_and_resumed_in_the_store_alone(folder: Path) -> None:
    publish(folder, promoted=True)
    paused = run("pause", "--project", "7", "--reason", "GPU\non loan", "--by", "anna")
    assert paused.exit_code == 0, paused.output
    assert paused.stdout.startswith("project 7 is paused by anna since 20")
    told = run("status", "--project", "7").stdout
    assert "UTC: GPU on loan; no run begins until `labelloop resume --project 7`" in told
    refused = run("retrain", "--project", "7", "--force", "--no-wait")
    assert refused.exit_code == 1
    assert "project 7 is paused by anna" in refused.output

    assert run("resume", "--project", "7").stdout.startswith("project 7 goes on; it was paused by anna since 20")
    assert run("resume", "--project", "7").stdout.startswith("project 7 is not paused\n")
    assert json.loads(run("status", "--project", "7", "--json").stdout)[0]["pause"] is None


def publish_report(folder: Path) -> None:
    publish(folder, promoted=True)
    Versions(FileStore(folder / "store"), PROJECT).write_report("v1", b"<!doctype html>v1")


def test_a_report_is_written_here_or_where_it_is_asked_for(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_report(folder)
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    words = ("report", "--project", "7", "--version", "v1")

    assert run(*words).stdout == "report of v1: report-v1.html\n"
    assert Path("report-v1.html").read_bytes() == b"<!doctype html>v1"
    assert run(*words, "--output", "mine.html").stdout == "report of v1: mine.html\n"
    shown = run(*words, "--output", "-")
    assert (shown.stdout, shown.stderr) == ("<!doctype html>v1", "report of v1: -\n")
    assert sorted(path.name for path in Path().iterdir()) == ["mine.html", "report-v1.html"]


def test_events_of_all_versions_are_copied_to_a_folder_each(folder: Path) -> None:
    publish_report(folder)
    words, target = ("tensorboard", "--project", "7", "--to", str(folder / "shown")), folder / "shown" / "v1"
    assert "no version of project 7 has events" in run(*words).output
    (folder / "made" / "hyperparameters").mkdir(parents=True)
    for name in ("events.out.tfevents.1.vm.1.0", "hyperparameters/events.out.tfevents.1.vm.1.1", "note.txt"):
        (folder / "made" / name).write_text(name)
    kept = Versions(FileStore(folder / "store"), PROJECT)
    kept.write_events("v1", folder / "made")
    # As another worker writes them, when the first was ended before it was done.
    (folder / "made" / "events.out.tfevents.1.vm.1.0").rename(folder / "made" / "events.out.tfevents.2.other.7.0")
    kept.write_events("v1", folder / "made")
    assert run(*words).output == f"v1: tensorboard --logdir {folder / 'shown'}\n"
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert found == ["events.out.tfevents.0", "hyperparameters/events.out.tfevents.0"], "each once"


def test_a_version_that_does_not_exist_has_not_lost_its_report(folder: Path) -> None:
    publish_report(folder)
    answer = run("report", "--project", "7", "--version", "v77")

    assert answer.exit_code == 1
    assert "v77 of localhost-8080/7 is not published" in answer.stderr


def test_a_report_has_a_place_where_the_working_directory_takes_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_report(folder)
    monkeypatch.chdir("/proc")
    kept = folder / "reports" / "localhost-8080" / "7" / "report-v1.html"

    assert run("report", "--project", "7", "--version", "v1").stdout == f"report of v1: {kept}\n"
    assert kept.read_bytes() == b"<!doctype html>v1"
    refused = run("report", "--project", "7", "--version", "v1", "--output", "/proc/report.html")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: /proc/report.html cannot be written (")
    assert refused.stderr.endswith("Name a file with --output FILE, or print the report with --output -\n")
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("in the way")
    assert "reports/localhost-8080/7" in run("report", "--project", "7", "--version", "v1").stderr


@pytest.mark.parametrize("place", ["nowhere/at/all", "file", "file/below"])
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["manifest", "convert", "{pictures}", "{place}/x", "--to", "csv"], False),
        (["manifest", "convert", "{pictures}", "{place}/x", "--to", "imagefolder"], False),
        (["manifest", "show", "{place}/x"], False),
        (["manifest", "show", "{pictures}", "--label-config", "{place}/x"], False),
        (["manifest", "show", "{pictures}", "--label-config", "{binary}"], False),
        (["probe", "--text", "a", "--label-config", "{binary}", "--endpoint", "http://127.0.0.1:1"], False),
        (["label-errors", "--run", "{place}/x"], False),
        (["test-endpoint", "--bundle", "{place}/x"], False),
        (["probe", "--file", "{place}/x"], False),
        (["report", "--project", "7"], True),
        (["versions", "--project", "7"], True),
    ],
)
def test_a_path_that_cannot_be_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str, arguments: list[str], environment: bool
) -> None:
    (folder / "file").write_text("x")
    (folder / "binary").write_bytes(b"\xff\xfe\x80")
    (folder / "pictures" / "cat").mkdir(parents=True)
    (folder / "pictures" / "cat" / "1.png").write_bytes(b"x")
    named = {"place": folder / place, "pictures": folder / "pictures", "binary": folder / "binary"}
    if environment:
        monkeypatch.setenv("MODEL_DIR", str(named["place"]))

    answer = run(*(word.format(**named) for word in arguments))

    assert answer.exit_code in ((0, 1) if environment or "imagefolder" in arguments or "csv" in arguments else (1, 2))
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    if answer.exit_code:
        assert answer.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.process
@pytest.mark.parametrize(
    ("missing", "arguments", "told"),
    [
        ("torch", ["train", "--run", "{run}", "--train-location", "{pictures}"], "'labelloop[train]'"),
        ("optuna", ["search", "--run", "{run}", "--train-location", "{pictures}"], "'labelloop[train]'"),
        ("timm", ["stage", "train", "--run", "{run}", "--train-location", "{pictures}"], "'labelloop[train]'"),
    ],
)
def test_a_missing_package_is_one_line_with_the_extra_that_brings_it(
    folder: Path, missing: str, arguments: list[str], told: str
) -> None:
    (folder / "pictures" / "cat").mkdir(parents=True)
    words = [word.format(run=folder / "run", pictures=folder / "pictures") for word in arguments]
    code = f"import sys; sys.modules[{missing!r}] = None; from labelloop.cli import main; main({words!r})"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    said = answer.stderr.strip().splitlines()
    assert said[-1].startswith(f"Error: this command needs the package {missing}, which is not installed: pip install ")
    assert told in said[-1]
    assert "Traceback" not in answer.stderr


def test_a_fault_of_the_program_itself_keeps_its_traceback() -> None:
    assert error_line(ModuleNotFoundError("no", name="labelloop.gone")) is None
    assert error_line(ImportError("cannot import name")) is None
    assert error_line(BrokenPipeError(errno.EPIPE, "Broken pipe")) is None
    assert error_line(KeyError("x")) is None


def test_a_rejected_version_cannot_serve(folder: Path) -> None:
    publish(folder, promoted=False)
    answer = run("rollback", "--project", "7", "--to", "v1")
    assert (answer.exit_code, answer.stderr) == (
        1,
        "Error: v1 was rejected (a verdict); only versions that passed can serve, and those that --force lets pass\n",
    )


def test_doctor_ends_with_exit_code_1_and_remedies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_WEIGHTS", "/nowhere/a.safetensors")  # so that torch is not waited for
    answer = run("doctor", "--json")
    found = {one["name"]: one for one in json.loads(answer.stdout)}

    assert answer.exit_code == 1
    assert found["store"]["ok"]
    assert not found["Redis"]["ok"]
    assert all(one["remedy"] for one in found.values() if not one["ok"])
    assert "hush" not in answer.output
    assert "BAD  Redis: " in run("doctor").stdout


def test_doctor_names_every_wrong_setting_and_stops_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_RECIPES", "heads")
    monkeypatch.setenv("PORT", "many")
    answer = run("doctor")

    assert answer.exit_code == 1
    assert [line for line in answer.stdout.splitlines() if not line.startswith("     ->")] == [
        "BAD  PORT: 'many' is not a whole number. Port the web process listens on.",
        (
            "BAD  LABELLOOP_RECIPES: 'heads' is not a list of head, finetune (did you mean head?). "
            "Recipes to train: head, finetune or both; they compete, or a finetune challenges heads "
            "(docs/training.md)."
        ),
    ]


def test_doctor_warns_of_what_is_doubtful(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_RETRIAN_AFTER", "5")
    monkeypatch.setenv("LABELLOOP_PREDICT_DEADLINE", "200")
    monkeypatch.setenv("LABELLOOP_WEIGHTS", "/nowhere/a.safetensors")  # so that torch is not waited for
    told = run("doctor").stdout

    assert "warn LABELLOOP_RETRIAN_AFTER: LABELLOOP_RETRIAN_AFTER is not a setting; did you mean" in told
    assert "LABELLOOP_PREDICT_DEADLINE is 200 s, but Label Studio waits 100 s" in told
    assert "warn open to everybody: Basic authentication is off and HOST is 0.0.0.0" in told
    assert "-> Set BASIC_AUTH_USER and BASIC_AUTH_PASS" in told
    assert "BAD  training: LABELLOOP_WEIGHTS: /nowhere/a.safetensors cannot be read" in told
    monkeypatch.setenv("HOST", "127.0.0.1")
    assert "open to everybody" not in run("doctor").stdout


def test_probe_lists_every_format() -> None:
    listed = run("probe", "--list").stdout
    for name in (*REQUEST_FORMATS, *(form.name for form in ANSWER_FORMATS)):
        assert re.search(rf"^  {name} ", listed, re.MULTILINE)
