"""Training as somebody else's program: what it is given, what it may leave, and what comes of it when one is killed."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelloop import commands
from labelloop.bundle_info import ForeignInfo
from labelloop.data.formats.base import Hints
from labelloop.data.formats.listings import FORMATS, read_listing
from labelloop.data.manifest import Manifest
from labelloop.data.split import splits
from labelloop.errors import LeaseLost, RunOccupied, SettingsError, TrainerAway, TrainingDied, TrainingError
from labelloop.files import sha256
from labelloop.kinds import base
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.versions import Versions
from labelloop.run.context import Labeled, read_json
from labelloop.run.driver import Run
from labelloop.run.folder import STAGES, RunFolder
from labelloop.run.registrar import Registrar
from labelloop.settings import Settings
from labelloop.trainers.base import Trainer
from labelloop.trainers.command import CommandTrainer
from labelloop.trainers.foreign import learner
from labelloop.trainers.opening import open_trainer
from labelloop.types import BOXES, Input, Item, Output, ProjectKey, side
from support import numbers_kind
from support.training_programs import BUNDLE, BY_VERB, LEARN, PLAIN, program, shell
from support.waiting import wait_until

pytestmark = pytest.mark.train

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("low", "high")
ALL = "start,find,poll,collect,cancel,predict"


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})


def opened(address: str) -> Trainer:
    return open_trainer(Settings(trainer=address))


def items(count: int = 60) -> list[Item]:
    """Give numbers with their labels, all of them whose side the split decides."""
    values = ((task, task / 100 + (1 if task % 2 else 8)) for task in range(1, count + 1))
    return [Item.of_text(task, f"{value:g}", ("low" if task % 2 else "high",)) for task, value in values]


@dataclass
class Told:
    """Whom runs tell how far they are; ``at`` may end one."""

    told: list[tuple[str, int, int]] = field(default_factory=list)
    at: Callable[[], None] = lambda: None

    def stage(self, name: str) -> None:
        self.told.append((f"stage {name}", 0, 0))

    def __call__(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))
        self.at()


@dataclass
class Machine:
    """A project's runs on one machine, trained by a program."""

    path: Path
    trainer: str
    held: list[Item] = field(default_factory=items)
    reporter: Told = field(default_factory=Told)
    seconds: float = 600.0
    occupied_seconds: float = 15.0

    @property
    def settings(self) -> Settings:
        return Settings(model_dir=str(self.path), trainer=self.trainer, training_seconds=self.seconds, poll_seconds=0.1)

    @property
    def store(self) -> FileStore:
        return FileStore(self.path / "store")

    @property
    def store_address(self) -> str:
        return (self.path / "store").as_uri()

    @property
    def labeled(self) -> Labeled:
        return Labeled(Manifest.of(PROJECT, "single", CLASSES, self.held, kind=numbers_kind.NAME))

    @property
    def tested(self) -> list[Item]:
        return [item for item in self.held if side(item.content) == "test"]

    def run(self, name: str = "run") -> Run:
        fence = ChampionPointer(self.store, PROJECT).take_fence()
        return Run(
            RunFolder(self.path / name),
            self.settings,
            {},
            self.reporter,
            source=lambda _: self.labeled,
            registrar=Registrar(self.store, PROJECT, fence, trainer=open_trainer(self.settings)),
            kind=numbers_kind.NAME,
            archive=False,
            trainer=CommandTrainer(self.trainer, self.occupied_seconds),
        )

    def make(self, *stages: str, name: str = "run") -> Run:
        run = self.run(name)
        with run.alone():
            for stage in stages or STAGES:
                run.make(stage)
        return run

    def train(self, name: str = "run") -> Run:
        return self.make("fetch", "preprocess", "train", name=name)


def test_a_program_trains_a_version_that_is_measured_judged_and_told_of(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", PLAIN))

    run = machine.make()

    record = Versions(machine.store, PROJECT).get("v1")
    assert record.promoted
    assert record.verdict.startswith(f"v1 becomes the first champion: {len(machine.tested)} of")
    assert record.recipe == "command"
    assert record.trained_with == {"recipes": ["command"], "seed": 0}
    info = check_bundle(run.folder.bundle)
    assert isinstance(info, ForeignInfo)
    assert info.model == f"means-{run.key}"
    trained = read_json(run.folder.trained, "train")
    assert trained["validation"] == {"accuracy": 0.5}
    assert trained["notes"] == [
        "means of numbers",
        f"the model lies elsewhere, as means-{run.key}: what needs its weights is left out of this report",
    ]
    report = run.folder.report.read_text()
    assert "means of numbers" in report
    assert "what needs its weights is left out of this report" in report
    assert ("sums", 1, 2) in machine.reporter.told
    assert machine.make().key == run.key
    assert Versions(machine.store, PROJECT).names() == ["v1"]


def test_what_is_handed_over_is_all_but_the_labels_of_the_test_side(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", PLAIN))
    first = machine.make()
    assert json.loads((first.folder.command / "parameters.json").read_text())["champion"] is None
    machine.held = items(80)

    run = machine.train(name="second")

    folder = run.folder.command
    parameters = json.loads((folder / "parameters.json").read_text())
    sides = {name: list(part) for name, part in splits(machine.labeled.manifest).items()}
    assert parameters["key"] == run.key
    assert parameters["champion"] == {"version": "v1", "model": f"means-{first.key}"}
    known = {name: parameters[name] for name in ("project", "kind", "choice", "classes", "seed", "format", "items")}
    assert known == {
        "project": "localhost-8080/7",
        "kind": "numbers",
        "choice": "single",
        "classes": ["low", "high"],
        "seed": 0,
        "format": "labelloop",
        "items": {name: len(part) for name, part in sides.items()},
    }
    for name in ("train", "validation"):
        listing = read_listing(folder / parameters[name])
        assert [(one.text, one.labels, one.task) for one in listing.records] == [
            (item.text, item.labels, item.task) for item in sides[name]
        ]
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert lines == [{"content": item.content, "text": item.text} for item in sides["test"]]


def test_a_champion_that_lies_elsewhere_is_asked_about_the_test_items_that_came_since(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", PLAIN, verbs="predict"))
    machine.make()
    before = len(machine.tested)
    machine.held = items(120)
    # As the command does, which is handed no registrar.
    run = Run(
        RunFolder(tmp_path / "second"),
        replace(machine.settings, store=machine.store_address),
        {},
        machine.reporter,
        source=lambda _: machine.labeled,
        kind=numbers_kind.NAME,
    )
    with run.alone():
        for stage in STAGES:
            run.make(stage)

    verdict = Versions(machine.store, PROJECT).get("v2").verdict
    count = len(machine.tested)
    assert before < count
    assert verdict.startswith(f"v2 replaces v1: {count} of {count} test items right (1.000) against {count} (1.000)")


def hidden(folder: Path, tested: list[Item]) -> list[str]:
    """Name the files of a folder in which a test item stands on a line with a label."""
    found = []
    for path in (one for one in folder.rglob("*") if one.is_file() and "inputs" not in one.parts):
        for line in path.read_text().splitlines():
            about = [item for item in tested if item.content in line or f'"{item.text}"' in line]
            if about and any(f'"{name}"' in line for name in CLASSES):
                found.append(f"{path.name}: {line[:80]}")
    return found


def test_no_label_of_a_test_item_is_told_by_any_file_or_question(tmp_path: Path) -> None:
    watch = LEARN + (
        "import shutil\n"
        "here = Path(__file__).parent\n"
        "if sys.argv[1] == 'predict':\n"
        "    asked = sys.stdin.read()\n"
        "    (here / 'asked.jsonl').write_text(asked)\n"
        "    means = json.loads((here / 'models' / sys.argv[3]).read_text())\n"
        "    print(json.dumps([answer(means, json.loads(line)['text']) for line in asked.splitlines()]))\n"
        "else:\n"
        "    shutil.copytree(sys.argv[1], here / 'given')\n"
        "    leave(Path(sys.argv[1]), learn(Path(sys.argv[1])), answered=False)\n"
    )
    machine = Machine(tmp_path, program(tmp_path / "theirs", watch, verbs="predict"))

    machine.train()

    given, asked = tmp_path / "theirs" / "given", tmp_path / "theirs" / "asked.jsonl"
    assert sorted(path.name for path in given.iterdir()) == [
        ".lock",
        ".lost",
        "inputs",
        "output",
        "parameters.json",
        "test.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ]
    assert len(asked.read_text().splitlines()) == len(machine.tested) > 0
    assert hidden(given, machine.tested) == []
    assert hidden(asked.parent, machine.tested) == []
    training = {item.text for item in machine.held if side(item.content) == "train"}
    assert hidden(given, [item for item in machine.held if item.text in training]) != [], "the look itself finds labels"


def test_by_verb_a_job_is_found_again_polled_collected_and_asked(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", BY_VERB, verbs=ALL))

    run = machine.make()

    key = run.key
    assert Versions(machine.store, PROJECT).get("v1").promoted
    assert ("epochs", 3, 10) in machine.reporter.told
    assert verbs_of(tmp_path) == [
        f"find {key}",
        "start command",
        f"poll {key}-1",
        f"poll {key}-1",
        f"collect {key}-1 command",
        f"predict --model means-{key}",
    ]
    trainer = open_trainer(machine.settings)
    assert trainer.elsewhere
    assert trainer.start(run.context, key) == f"{key}-1"
    trainer.cancel(f"{key}-1")
    assert trainer.poll(f"{key}-1").reason == "it was cancelled"
    assert trainer.start(run.context, key) == f"{key}-2", "one that has failed is begun anew"


def verbs_of(tmp_path: Path) -> list[str]:
    return (tmp_path / "theirs" / "jobs" / "log").read_text().splitlines()


def test_without_find_the_handle_is_kept_in_the_folder(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", BY_VERB, verbs="start,poll,collect"))
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)

    handle = trainer.start(run.context, run.key)

    assert open_trainer(machine.settings).start(run.context, run.key) == handle
    assert sum(line.startswith("start") for line in verbs_of(tmp_path)) == 1
    (tmp_path / "theirs" / "jobs" / handle / "failed").write_text("no space")
    assert open_trainer(machine.settings).start(run.context, run.key) != handle


def test_a_handle_that_is_known_is_collected_and_nothing_is_begun(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", BY_VERB, verbs="start,poll,collect,predict"))
    run = machine.make("fetch", "preprocess")
    run.handle = open_trainer(machine.settings).start(run.context, run.key)
    other = machine.run("on another machine")
    other.handle = run.handle
    with other.alone():
        for stage in ("fetch", "preprocess", "train"):
            other.make(stage)
    assert sum(line.startswith("start") for line in verbs_of(tmp_path)) == 1


def test_a_bundle_that_a_program_leaves_is_taken_as_it_is(tmp_path: Path) -> None:
    machine = Machine(tmp_path, program(tmp_path / "theirs", BUNDLE))

    run = machine.make()

    assert sorted(path.name for path in run.folder.bundle.iterdir()) == ["means.json", "model.json"]
    record = Versions(machine.store, PROJECT).get("v1")
    assert (record.recipe, record.promoted) == ("theirs", True)


def test_a_program_that_tells_of_no_test_item_leaves_a_version_that_cannot_be_judged(tmp_path: Path) -> None:
    text = LEARN + "leave(Path(sys.argv[1]), learn(Path(sys.argv[1])), answered=False)\n"
    machine = Machine(tmp_path, program(tmp_path / "theirs", text))

    machine.make()

    assert "v1 cannot be judged: kept, not promoted" in Versions(machine.store, PROJECT).get("v1").verdict


def test_pictures_are_handed_over_as_files_in_the_format_that_is_asked_for(tmp_path: Path) -> None:
    from support.bundles import picture

    machine = Machine(tmp_path, program(tmp_path / "theirs", "", format="csv"))
    run = machine.run()
    shown = {}
    for at, colour in enumerate(("red", "green", "blue") * 20):
        content = picture(colour, size=(12 + at, 10))
        shown[run.context.pictures.add(content)] = (content, colour)
    held = [Item(task, name, (colour,)) for task, (name, (_, colour)) in enumerate(shown.items(), 1)]
    run.context.labeled = Labeled(Manifest.of(PROJECT, "single", ("red", "green", "blue"), held))

    with pytest.raises(TrainingError, match=r"left neither result\.json nor bundle/"):
        open_trainer(machine.settings).collect(open_trainer(machine.settings).start(run.context, "key"), run.context)

    folder = run.folder.command
    assert {path.name for path in (folder / "inputs").iterdir()} == set(shown)
    assert all(path.read_bytes() == shown[path.name][0] for path in (folder / "inputs").iterdir())
    listing = read_listing(folder / "train.csv")
    train = [item for item in held if side(item.content) == "train"]
    assert [(one.content, one.labels) for one in listing.records] == [(item.content, item.labels) for item in train]
    for line in map(json.loads, (folder / "test.jsonl").read_text().splitlines()):
        assert line == {"content": line["content"], "file": f"inputs/{line['content']}"}
        assert hashlib.sha256((folder / line["file"]).read_bytes()).hexdigest() == line["content"]
    for form in ("imagefolder", "augmented", "vertex", "label-studio"):
        trainer = opened(program(tmp_path / "theirs", "", format=form))
        trainer.start(run.context, form)
        name = json.loads((folder / "parameters.json").read_text())["train"]
        assert len(read_listing(folder / name, form, Hints(picture_field="image")).records) == len(train)


MODEL = "(out / 'result.json').write_text('{\"model\": \"m\"}'); "
LEAVES = {
    "no result": ("pass", r"left neither result\.json nor bundle/"),
    "no JSON": ("(out / 'result.json').write_text('{')", r"result\.json cannot be read"),
    "a list": ("(out / 'result.json').write_text('[]')", "must be a JSON object with model, notes"),
    "another key": ("(out / 'result.json').write_text('{\"name\": 1}')", "unknown key 'name'"),
    "a number": ("(out / 'result.json').write_text('{\"model\": 1}')", "model and recipe must be texts"),
    "no model": ("(out / 'result.json').write_text('{}')", "names no model, and there is no bundle/"),
    "a note": ("(out / 'result.json').write_text('{\"notes\": \"x\"}')", "notes must be a list of texts"),
    "words": ('(out / \'result.json\').write_text(\'{"validation": {"a": "x"}}\')', "an object of numbers"),
    "a link": ("(out / 'result.json').symlink_to('/etc/hostname')", "no plain file"),
    "a linked folder": ("(out / 'bundle').symlink_to('/etc')", "no plain file"),
    "a linked output": ("out.rmdir(); out.symlink_to('/etc')", "no plain file"),
    "a pipe": ("os.mkfifo(out / 'answers.jsonl')", "no plain file"),
    "an empty bundle": ("(out / 'bundle').mkdir()", "left a bundle that cannot be used"),
    "no content": (MODEL + "(out / 'answers.jsonl').write_text('{\"label\": \"low\"}')", 'line 1: .* with "content"'),
    "no answers": (
        MODEL + "(out / 'answers.jsonl').write_text('oops')",
        r"answers\.jsonl, line 1: its 4 bytes are not",
    ),
}


@pytest.mark.parametrize("what", LEAVES)
def test_what_is_left_otherwise_than_agreed_is_named(tmp_path: Path, what: str) -> None:
    does, told = LEAVES[what]
    text = f"import os, sys\nfrom pathlib import Path\nout = Path(sys.argv[1]) / 'output'\n{does}\n"
    with pytest.raises(TrainingError, match=told):
        Machine(tmp_path, program(tmp_path / "theirs", text)).train()


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "augmented", "label-studio", "labelloop"])
def test_boxes_are_handed_over_in_the_format_that_is_asked_for(form: str, tmp_path: Path) -> None:
    from support.bundles import picture

    machine = Machine(tmp_path, program(tmp_path / "theirs", "", format=form))
    run, held = machine.run(), []
    box = '[{"box":[0.25,0.5,0.5,0.25],"label":"cell"}]'
    for at in range(60):
        name = run.context.pictures.add(picture("red", size=(16 + at, 8)))
        held.append(Item(at + 1, name, ("cell",) if at % 3 else (), result=box if at % 3 else "[]"))
    run.context.labeled = Labeled(Manifest.of(PROJECT, "multiple", ("cell",), held, kind=BOXES))
    open_trainer(machine.settings).start(run.context, "key")

    listing = read_listing(run.folder.command / f"train{FORMATS[form].suffix}", form)
    expected = {item.content: item.result for item in held if side(item.content) == "train"}
    given = {sha256(Path(one.uri.removeprefix("file://"))): one.result for one in listing.records}
    assert (listing.kind, given) == (BOXES, expected)


def test_why_a_program_failed_is_told_with_its_last_words_and_it_is_run_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, shell(tmp_path, "echo loading >&2; echo no GPU here >&2; exit 3"))
    with pytest.raises(TrainingDied, match=r"training by train\.sh ended with exit status 3: loading / no GPU here"):
        machine.train()
    machine.trainer = program(tmp_path / "theirs", PLAIN)
    machine.make()
    assert Versions(machine.store, PROJECT).get("v1").promoted


def test_one_beyond_its_time_is_killed_for_that_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its second is over when it has begun, however long that takes.
    pid = tmp_path / "pid"
    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=lambda: 2.0 if pid.exists() else 0.0))
    machine = Machine(
        tmp_path, shell(tmp_path, f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600"), seconds=1.0
    )
    with pytest.raises(TrainingError, match=r"was ended after 1 s: LABELLOOP_TRAINING_SECONDS is its limit"):
        machine.train()
    wait_until(lambda: not is_alive(int(pid.read_text())), "it has ended", 30)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_job_beyond_its_time_is_cancelled_for_that_reason(tmp_path: Path) -> None:
    endless = BY_VERB.replace("touch()", "exists()")
    machine = Machine(tmp_path, program(tmp_path / "theirs", endless, verbs=ALL), seconds=1.0)
    with pytest.raises(TrainingError, match=r"was cancelled after 1 s: LABELLOOP_TRAINING_SECONDS is its limit"):
        machine.train()
    assert any(line.startswith("cancel ") for line in verbs_of(tmp_path))


def test_who_ends_the_run_ends_the_program_and_all_it_has_started(tmp_path: Path) -> None:
    def lost() -> None:
        if (tmp_path / "child").exists():
            raise LeaseLost("another worker has the project")

    begins = f"sleep 600 & echo $! > {tmp_path}/.child; mv {tmp_path}/.child {tmp_path}/child; wait"
    machine = Machine(tmp_path, shell(tmp_path, begins), reporter=Told(at=lost))
    with pytest.raises(LeaseLost):
        machine.train()
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())), "what it started has ended", 30)


WORKER = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from labelloop.kinds import base
base.KINDS["numbers"] = "support.numbers_kind"
from contract.test_command_trainer import Machine
Machine(Path({path!r}), {trainer!r}).train()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells a child that its parent is gone")
def test_a_killed_worker_takes_its_training_along_and_the_next_one_begins_it_again(tmp_path: Path) -> None:
    waits = LEARN + (
        "import time\n"
        "here = Path(__file__).parent\n"
        "(here / f'begun-{os.getpid()}').touch()\n"
        "while not (here / 'go').exists():\n"
        "    time.sleep(0.02)\n"
        "leave(Path(sys.argv[1]), learn(Path(sys.argv[1])))\n"
    )
    address = program(tmp_path / "theirs", waits)
    paths = [*sys.path, str(Path(__file__).parents[1])]
    worker = subprocess.Popen([sys.executable, "-c", WORKER.format(paths=paths, path=str(tmp_path), trainer=address)])

    def begun() -> list[int]:
        return [int(path.name.partition("-")[2]) for path in (tmp_path / "theirs").glob("begun-*")]

    wait_until(lambda: bool(begun()), "it trains", 60)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    (first,) = begun()
    wait_until(lambda: not is_alive(first), "its training has ended", 30)
    (tmp_path / "theirs" / "go").touch()
    machine = Machine(tmp_path, address)
    machine.make()
    assert Versions(machine.store, PROJECT).get("v1").promoted
    assert len(begun()) == 2


def test_an_orphan_that_is_still_at_work_is_left_in_peace(tmp_path: Path) -> None:
    """What has left its process group outlives the worker, and with it its hold on the folder."""
    escapes = LEARN + (
        "import subprocess, time\n"
        "here = Path(__file__).parent\n"
        "wait = 'import sys, time, pathlib; p = pathlib.Path(sys.argv[1])\\nwhile not p.exists(): time.sleep(0.02)'\n"
        "if not (here / 'go').exists():\n"
        "    none, its = subprocess.DEVNULL, [sys.executable, '-c', wait, str(here / 'go')]\n"
        "    subprocess.Popen(its, start_new_session=True, close_fds=False, stdout=none, stderr=none)\n"
        "    sys.exit(1)\n"
        "leave(Path(sys.argv[1]), learn(Path(sys.argv[1])))\n"
    )
    machine = Machine(tmp_path, program(tmp_path / "theirs", escapes))
    hasty = replace(machine, occupied_seconds=0.5)
    with pytest.raises(TrainingDied):
        hasty.train()
    with pytest.raises(RunOccupied, match=r"an earlier attempt at the training in .*command is still at work"):
        hasty.train()
    (tmp_path / "theirs" / "go").touch()
    machine.train()


def test_none_of_our_secrets_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "hush")
    monkeypatch.setenv("LABELLOOP_ENDPOINT_HEADERS", "Authorization: hush")
    seen = LEARN + "(Path(__file__).parent / 'seen').write_text(json.dumps(dict(os.environ)))\n"
    text = seen + "leave(Path(sys.argv[1]), learn(Path(sys.argv[1])))\n"
    machine = Machine(tmp_path, program(tmp_path / "theirs", text))
    run = machine.train()
    environment = json.loads((tmp_path / "theirs" / "seen").read_text())
    assert "hush" not in json.dumps(environment)
    assert environment["LABELLOOP_RUN_KEY"] == run.key


def test_a_job_that_cannot_be_asked_after_is_waited_for_and_one_that_speaks_otherwise_is_not(tmp_path: Path) -> None:
    wordy = opened(shell(tmp_path, """echo asking; echo '{"state": "done"}'""", verbs=ALL))
    assert wordy.poll("job").state == "done"
    away = opened(shell(tmp_path, "echo the cloud is down >&2; exit 1", verbs=ALL))
    for asks in (lambda: away.poll("job"), lambda: away.find("key"), lambda: away.cancel("job")):
        with pytest.raises(TrainerAway, match="ended with exit status 1: the cloud is down"):
            asks()
    with pytest.raises(TrainingDied, match=r"train\.sh predict ended with exit status 1"):
        away.predict("model", [Input(text="1")])
    for said in ("", "running", '["running"]', '{"state": "well"}', '{"done": 1}', '{"state": "running", "done": "x"}'):
        with pytest.raises(TrainingError, match="poll must write a JSON object"):
            opened(shell(tmp_path, f"echo {shlex.quote(said)}", verbs=ALL)).poll("job")


PREDICTED = {
    "one answer to all": '{"predictions": [[{"label": "low", "score": 0.9}], [{"label": "high", "score": 0.8}]]}',
    "on many lines": '[\n{"label": "low", "score": 0.9},\n{"label": "high", "score": 0.8}\n]\n',
    "a list": '[{"label": "low", "score": 0.9}, {"label": "high", "score": 0.8}]',
    "a line each": '{"label": "low", "score": 0.9}\n{"label": "high", "score": 0.8}\n',
    "numbers for the classes": "[0.9, 0.1]\n[0.2, 0.8]\n",
    "by content": '{"content": "%(two)s", "label": "high", "score": 1}\n{"content": "%(one)s", "answer": [%(low)s]}\n',
}  # fmt: skip


@pytest.mark.parametrize("how", PREDICTED)
def test_answers_are_read_in_any_form(tmp_path: Path, how: str) -> None:
    contents = {name: hashlib.sha256(text).hexdigest() for name, text in (("one", b"1"), ("two", b"2"))}
    names = {**contents, "low": '{"label": "low", "score": 0.9}'}
    (tmp_path / "said").write_text(PREDICTED[how] % names)
    trainer = opened(shell(tmp_path, f"cat > {tmp_path}/asked; cat {tmp_path}/said", verbs="predict"))

    answers = trainer.predict("m", [Input(text="1"), Input(b"2")], CLASSES)

    assert [one.label for one in answers if isinstance(one, Output)] == ["low", "high"]
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert asked[0] == {"content": contents["one"], "text": "1"}
    assert asked[1]["file"].endswith(f"/inputs/{contents['two']}")


@pytest.mark.parametrize("said", ["", "oops", "[1]", '{"label": "low", "score": 0.9}'])
def test_answers_that_are_none_are_refused(tmp_path: Path, said: str) -> None:
    trainer = opened(shell(tmp_path, f"echo {shlex.quote(said)}", verbs="predict"))
    with pytest.raises(TrainingError, match="what predict wrote"):
        trainer.predict("m", [Input(text="1"), Input(text="2")], CLASSES)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("command:./train.sh?verbs=poll", "the verb poll is for what the verb start began: name start, too"),
        ("command:./train.sh?verbs=start,find", "the verb find is for what goes on after start: name poll, too"),
        ("command:./train.sh?verbs=begin", "'begin' is no verb"),
        ("command:./train.sh?format=xml", "there is no format 'xml'"),
        ("cloud:x", "'cloud' is no kind of trainer. There are local, command"),
    ],
)
def test_an_address_that_cannot_be_says_why(address: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        opened(address)


def test_a_program_that_is_not_there_is_said_before_anything_begins(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "command:./nowhere/train.sh")
    with pytest.raises(
        TrainingError, match=r"\./nowhere/train\.sh is no program that may be run in .*workers start it"
    ):
        machine.run().check()
    assert not (tmp_path / "run").exists()


def test_another_trainer_is_another_run_and_nothing_of_ours_is_looked_at() -> None:
    kind = base.find("image-classification")
    here = Settings(weights="none")
    theirs = replace(here, trainer="command:./a.sh", backbone="no such network", weights="/no/such.safetensors")
    keys = {
        learner(kind, settings).hyperparameters(settings).fingerprint()
        for settings in (here, theirs, replace(theirs, trainer="command:./b.sh"), replace(theirs, seed=1))
    }
    assert len(keys) == 4
    assert learner(kind, here) is kind
    there = replace(theirs, trainer="command:true")
    learner(kind, there).check_settings(there, thorough=True)
    other = replace(theirs, epochs=99)
    assert (
        learner(kind, other).hyperparameters(other).fingerprint()
        == learner(kind, theirs).hyperparameters(theirs).fingerprint()
    )


ONLY_TRAINING = (
    "torch", "torchmetrics", "torchvision", "timm", "lightning", "onnx", "onnxscript", "optuna", "sklearn",
    "scipy", "tensorboard", "threadpoolctl", "captum", "albumentations", "matplotlib",
)  # fmt: skip
"""Packages that are installed where LabelLoop trains itself, and may be nowhere else."""


def test_a_run_with_a_program_needs_no_torch(tmp_path: Path) -> None:
    """The page's program, pictures from a folder, by the command, in a process where torch cannot be imported."""
    from support.digit_pictures import write_digits

    write_digits(tmp_path / "pictures", range(150), classes=2)
    page = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text()
    text = page.partition("```python\n")[2].partition("```")[0]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LABELLOOP_")},
        "MODEL_DIR": str(tmp_path / "machine"),
        "LABELLOOP_TRAINER": program(tmp_path / "theirs", text),
    }
    no_torch = (
        "import sys\n"
        f"for name in {ONLY_TRAINING!r}: sys.modules[name] = None\n"
        "from labelloop.cli import main\nmain(sys.argv[1:])\n"
    )
    arguments = ["train", "--run", "run", "--train-location", "pictures"]

    done = subprocess.run(
        [sys.executable, "-c", no_torch, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "v1 becomes the first champion" in done.stdout
    report = (tmp_path / "run" / "report.html").read_text()
    assert "the model lies elsewhere, as " in report
    assert "could not be made" not in report
    assert (tmp_path / "run" / "evaluation" / "mistakes.json").exists()
