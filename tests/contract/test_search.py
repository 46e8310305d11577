"""``labelloop search`` as a user runs it: processes of its own, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Self

import optuna
import psutil
import pytest
from click.testing import CliRunner

from labelloop.children import start_child, stop_child
from labelloop.cli import main, settings_table
from labelloop.data.formats import write_listing
from labelloop.data.listing import Listing, Record
from labelloop.errors import SettingsError, TrainingError
from labelloop.models.opening import open_store
from labelloop.models.runs import ProjectDefaults
from labelloop.regions import write_regions
from labelloop.run.context import Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.search.journal import Tried, open_study, tried
from labelloop.run.search.leader import SearchBudget
from labelloop.run.search.search_folder import SearchFolder
from labelloop.run.search.space import space_of
from labelloop.run.search.study import run_search
from labelloop.types import BOXES, TEXTS, Json, ProjectKey
from support import scattered, searching, tiny_encoder
from support.digit_pictures import write_digits
from support.waiting import wait_until

pytestmark = [pytest.mark.train, pytest.mark.process]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own, and a network that trains in seconds."""
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    small = {"BACKBONE": "test_resnet", "WEIGHTS": "none", "IMAGE_SIZE": "32", "EPOCHS": "2", "RECIPES": "finetune"}
    for name, value in small.items():
        monkeypatch.setenv(f"LABELLOOP_{name}", value)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "machine"))
    return tmp_path


class Searching:
    """A search in another process; ends with the ``with`` block."""

    def __init__(self, arguments: list[str], run: Path, log: Path) -> None:
        self.folder, self.log, self._seen = SearchFolder(RunFolder(run)), log, 0
        self.child: subprocess.Popen[bytes] = start_child([sys.executable, "-m", "labelloop", *arguments], log=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stop_child(self.child, 0)

    @cached_property
    def study(self) -> optuna.Study:
        return open_study(self.folder, 0)

    def workers(self) -> list[psutil.Process]:
        return [one for one in psutil.Process(self.child.pid).children(recursive=True) if _is_worker(one)]

    def wait_for(self, trials: int) -> None:
        """Wait until that many trials have ended and another one runs."""
        wait_until(lambda: self._has(trials), lambda: f"trial {trials}:\n{self.log.read_text()[-3000:]}", 280)

    def _has(self, trials: int) -> bool:
        assert self.child.poll() is None, self.log.read_text()[-3000:]
        journal = self.folder.journal
        size = journal.stat().st_size if journal.is_file() else 0
        if size == self._seen:  # to read it all the time would slow down what is waited for
            return False
        self._seen = size
        found = [one.state for one in tried(self.study)]
        return found.count("finished") >= trials and found[-1] == "running"


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # it may end meanwhile
        return "labelloop.run.search.trial" in process.cmdline()
    return False


def words(machine: Path, trials: int) -> list[str]:
    """Write the pictures of three sides, and give the words of a search on them."""
    write_digits(machine / "train", range(60), classes=3)
    write_digits(machine / "validation", range(60, 80), classes=3)
    write_digits(machine / "test", range(80, 92), classes=3)
    places = [f"--{side}-location={machine / side}" for side in ("train", "validation", "test")]
    small = ["--trials", str(trials), "--jobs", "1", "--batch-size", "8", "--augmentations", "none"]
    return ["search", "--run", str(machine / "run"), *places, *small, "--project", "7", "--json"]


def require_winner(machine: Path, found: Json) -> None:
    """Assert that the best trial of a search was trained, tested and remembered."""
    run, winner, best = machine / "run", Path(found["winner"]), found["best"]
    assert found["test"]["items"] == 12
    assert json.loads((winner / "train.json").read_text())["validation"]["finetune"] == best["accuracy"]
    assert (winner / "search" / "search.json").read_text() == (run / "search" / "search.json").read_text()
    parameters = json.loads((winner / "run.json").read_text())["parameters"]
    assert parameters.items() >= {**best["parameters"], "epochs": "2"}.items()
    kept = ProjectDefaults(open_store((machine / "machine" / "store").as_uri()), ProjectKey("localhost-8080", 7)).read()
    assert kept.parameters == {name: value for name, value in best["parameters"].items() if name != "recipe"}
    page = (run / "search" / "search.html").read_text()
    assert page.count("<tr class=") == len(found["trials"])
    assert "://" not in page


@pytest.mark.slow
def test_a_search_ends_with_its_winner_tested(machine: Path) -> None:
    answer = CliRunner().invoke(main, words(machine, trials=1))
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert [one["state"] for one in found["trials"]] == ["finished"]
    require_winner(machine, found)


# Three processes that load torch: that an interrupted trial is tried anew and not counted, and that a search chooses in
# another process as it would have, is told by the unit tests of asking.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_that_is_killed_goes_on_and_ends_with_its_winner_tested(machine: Path, tmp_path: Path) -> None:
    arguments = words(machine, trials=3)
    with Searching(arguments, machine / "run", tmp_path / "log") as first:
        first.wait_for(1)
        (worker,) = first.workers()
        first.child.kill()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker ends, too")

    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    states = [one["state"] for one in found["trials"]]
    assert states == ["finished", "interrupted", "finished", "finished"]
    assert found["trials"][2]["parameters"].items() >= found["trials"][1]["parameters"].items()
    require_winner(machine, found)


def test_a_search_that_is_asked_to_end_keeps_what_it_has(tmp_path: Path) -> None:
    context = searching.fetched(tmp_path, searching.settings(tmp_path))
    space = space_of(context.settings, context.kind)
    processes = psutil.Process().children
    found = run_search(context, space, SearchBudget(3), 1, [], lambda _trials: os.kill(os.getpid(), signal.SIGTERM))

    assert (found["ended"], found["best"]) == ("interrupted", None)
    assert not [one for one in processes(recursive=True) if _is_worker(one)]
    folder = SearchFolder(context.folder)
    assert json.loads(folder.result.read_text()) == found
    assert "No trial has finished yet" in folder.report.read_text()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_search_whose_time_is_over_ends(tmp_path: Path) -> None:
    context = searching.fetched(tmp_path, searching.settings(tmp_path))
    found = run_search(
        context, space_of(context.settings, context.kind), SearchBudget(3, seconds=0.1), 2, [], lambda _trials: None
    )

    assert (found["ended"], found["jobs"]) == ("its time is over", 2)


def test_a_search_needs_validation_pictures(tmp_path: Path) -> None:
    context = searching.fetched(tmp_path, searching.settings(tmp_path), validation=0)
    with pytest.raises(TrainingError, match="pictures on the validation side"):
        run_search(context, space_of(context.settings, context.kind), SearchBudget(3), 1, [], lambda _trials: None)


def test_a_folder_is_searched_by_one_at_a_time(tmp_path: Path) -> None:
    context = searching.fetched(tmp_path, searching.settings(tmp_path))
    refused: list[str] = []

    def again(_trials: list[Tried]) -> None:
        with pytest.raises(SettingsError, match="another process searches in") as caught:
            run_search(context, space_of(context.settings, context.kind), SearchBudget(3), 1, [], again)
        refused.append(str(caught.value))
        os.kill(os.getpid(), signal.SIGINT)

    run_search(context, space_of(context.settings, context.kind), SearchBudget(3), 1, [], again)
    assert refused


def test_processes_that_keep_ending_are_given_up(tmp_path: Path) -> None:
    context = searching.fetched(tmp_path, searching.settings(tmp_path))
    settings = context.settings
    context.labeled = Labeled(context.manifest, {item.content: "validation" for item in context.manifest.items})
    context.folder.sides.write_text("no JSON")
    with pytest.raises(TrainingError, match=r"keep ending, last with exit status 1: .*sides.json is damaged"):
        run_search(context, space_of(settings, context.kind), SearchBudget(3), 1, [], lambda _trials: None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--models", "resnet19"], "timm has no network named 'resnet19'"),
        (["--optimizers", "adamm"], "timm has no optimizer named 'adamm'"),
        (["--augmentations", "wild"], "is not one of auto, none, light, crop, realistic"),
        (["--sizes", "-1"], "-1"),
        (["--learning-rates", "fast,slow"], "the lowest and the highest"),
        (["--recipe", "magic"], "head, finetune"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(machine: Path, given: list[str], said: str) -> None:
    answer = CliRunner().invoke(main, ["search", "--run", str(machine / "run"), "--train-location", "none", *given])

    assert answer.exit_code == 1
    assert said in answer.stderr
    assert not (machine / "run").exists()


def test_optuna_s_own_logging_is_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = SearchFolder(RunFolder(tmp_path))
    folder.path.mkdir()
    open_study(folder, 0)
    optuna.logging.get_logger("optuna.study").warning("heard")

    assert "heard" in caplog.text


SENTENCES = 40


def listed_words(machine: Path, kind: str) -> list[str]:
    """Write a list of each side, and give the words of a search of two trials on them."""
    if kind == TEXTS:
        first, second = (str(tiny_encoder.write(machine / name)) for name in ("first", "second"))
        said, shown = tiny_encoder.texts(SENTENCES)
        records = [
            Record("", (tiny_encoder.WORDS[colour],), at + 1, text=f"{text} {at}")
            for at, (text, colour) in enumerate(zip(said, shown, strict=True))
        ]
        lists = ["--encoders", f"{first},{second}", "--learning-rates", "1e-3,1e-2"]
    else:
        records = []
        for at in range(SENTENCES):
            path, regions = scattered.picture(machine, at)
            labels = tuple(sorted({one.label for one in regions}))
            records.append(Record(str(path), labels, at + 1, result=write_regions(regions)))
        lists = ["--sizes", "64,96", "--augmentations", "none"]
    for side, rows in (("train", records[:24]), ("validation", records[24:32]), ("test", records[32:])):
        write_listing(Listing.of(rows, kind=kind), machine / side, "labelloop")
    places = [f"--{side}-location={machine / side}" for side in ("train", "validation", "test")]
    return ["search", "--run", str(machine / "run"), *places, "--trials", "2", "--jobs", "1", *lists, "--json"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "figure", "own"), [(TEXTS, "accuracy", "encoder"), (BOXES, "AP50", "image_size")])
def test_other_kinds_are_searched_by_what_is_theirs(machine: Path, kind: str, figure: str, own: str) -> None:
    answer = CliRunner().invoke(main, listed_words(machine, kind))
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert [one["state"] for one in found["trials"]] == ["finished", "finished"]
    assert (found["figure"], found["test"]["items"]) == (figure, 8)
    assert own in found["space"]
    trained = json.loads((Path(found["winner"]) / "train.json").read_text())["validation"]
    assert trained[found["best"]["parameters"]["recipe"]] == found["best"]["accuracy"]
