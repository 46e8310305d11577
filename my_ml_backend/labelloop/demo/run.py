"""Runs the demo: everything on this machine, from nothing to a Label Studio whose pictures are pre-annotated."""

import json
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

from labelloop.demo.annotator import Annotator
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.machine import child_environment, demo_settings
from labelloop.demo.pictures import Picture, Pictures, digits, folder_per_class
from labelloop.demo.rounds import RoundReport, Rounds
from labelloop.loop.hub import Hub
from labelloop.loop.registry import remember_project
from labelloop.settings import Settings
from labelloop.studio.connect import connect
from labelloop.supervise import Supervisor
from labelloop.types import NO_VERSION
from labelloop.web.machine import machine

_FIRST_LABELS = 60
_DIGIT_TASKS = 800


@dataclass(frozen=True)
class DemoOptions:
    """What ``labelloop demo`` was asked for (docs/demo.md)."""

    label_studio: Path
    images: Path | None = None
    test_images: Path | None = None
    auto: bool = False
    rounds: int = 4
    per_round: int = 50
    seed: int = 0
    report: Path | None = None


def run_demo(options: DemoOptions, settings: Settings, say: Callable[[str], None]) -> None:
    """Run until Ctrl-C, or with ``auto`` until the last round is written; raises LabelLoopError.

    All files lie in a temporary folder that is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="labelloop-demo-") as name, _ending_on_sigterm():
        folder = Path(name)
        pictures = _pictures(options, folder)
        settings = demo_settings(settings, folder, options.per_round)
        say(f"Label Studio starts at {settings.label_studio_url} (about 20 s the first time) ...")
        with _label_studio(options, settings, folder) as studio:
            settings = replace(settings, label_studio_api_key=studio.token)
            say("Redis, inference, worker and web start ...")
            supervisor = Supervisor(machine(settings, child_environment(settings)))
            try:
                supervisor.start()
                _play(options, Hub(settings), studio, pictures, supervisor, say)
            finally:
                supervisor.stop()


def _pictures(options: DemoOptions, folder: Path) -> Pictures:
    if options.images is not None:
        return folder_per_class(options.images, options.test_images, options.seed)
    written = folder / "digits"
    written.mkdir()
    return digits(written, options.seed, _DIGIT_TASKS)


@contextmanager
def _label_studio(options: DemoOptions, settings: Settings, folder: Path) -> Iterator[LabelStudio]:
    port = int(settings.label_studio_url.rpartition(":")[2])
    studio = LabelStudio(options.label_studio, folder / "label-studio", port)
    studio.start()
    try:
        yield studio
    finally:
        studio.stop()


def _play(
    options: DemoOptions,
    hub: Hub,
    studio: LabelStudio,
    pictures: Pictures,
    supervisor: Supervisor,
    say: Callable[[str], None],
) -> None:
    project = studio.create_project("LabelLoop demo", label_config(pictures.classes))
    key = hub.project(project)
    url = f"http://127.0.0.1:{hub.settings.port}"
    for line in connect(hub.studio, project, url, hub.settings, NO_VERSION):
        say(f"  {line}")
    remember_project(hub, key, url)
    say(f"{len(pictures.shown)} pictures are uploaded ...")
    answers = upload(studio, hub, project, pictures.shown)
    annotator = Annotator(hub.studio, hub.settings.label_studio_url, project, answers, ("label", "image"))
    rounds = Rounds(hub, key, annotator, pictures.held_out, say, supervisor.tend)
    say(f"{_FIRST_LABELS} tasks are annotated, then the first version is trained ...")
    reports = [rounds.first(sorted(answers), _FIRST_LABELS)]
    _tell(reports[-1], say)
    if options.auto:
        for number in range(1, options.rounds + 1):
            reports.append(rounds.play(number, options.per_round))
            _tell(reports[-1], say)
        _write(options, reports, say)
        return
    _invite(studio, project, reports[0], options, say)
    while True:
        supervisor.tend()
        time.sleep(0.2)


def label_config(classes: tuple[str, ...]) -> str:
    """Write the label config of a project that sorts pictures into classes."""
    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in classes)
    return (
        '<View><Image name="image" value="$image" maxWidth="360px"/><Choices name="label" toName="image" '
        f'choice="single" showInline="true">{choices}</Choices></View>'
    )


def upload(studio: LabelStudio, hub: Hub, project: int, pictures: tuple[Picture, ...]) -> dict[int, str]:
    """Upload the pictures under names of their own; returns each task's right answer."""
    names = {f"{number:05}{picture.path.suffix.lower()}": picture for number, picture in enumerate(pictures)}
    studio.import_pictures(project, {name: picture.path.read_bytes() for name, picture in names.items()})
    # Label Studio puts random letters and a dash before the name of an upload.
    return {task["id"]: names[task["data"]["image"].rpartition("-")[2]].label for task in hub.studio.tasks(project)}


def _tell(report: RoundReport, say: Callable[[str], None]) -> None:
    agreement = "" if report.agreement is None else f", pre-annotations right {report.agreement:.0%}"
    say(
        f"round {report.round}: {report.annotations} annotations, {report.version}, test accuracy "
        f"{report.test_accuracy:.3f}{agreement}, {report.seconds_to_predictions:.0f} s to new predictions\n"
        f"  {report.verdict}"
    )


def _write(options: DemoOptions, reports: list[RoundReport], say: Callable[[str], None]) -> None:
    text = json.dumps([report.to_json() for report in reports], indent=2)
    if options.report is None:
        say(text)
    else:
        options.report.write_text(text + "\n")
        say(f"written to {options.report}")


def _invite(
    studio: LabelStudio, project: int, report: RoundReport, options: DemoOptions, say: Callable[[str], None]
) -> None:
    say(
        f"""
Label Studio:  {studio.url}/projects/{project}/data
Log in as:     {studio.email}  password  {studio.password}

Every picture is pre-annotated by {report.version}. Press Label All Tasks: the least certain come first, with an
answer filled in. Correct or submit {options.per_round} of them and pause: a new version is trained, compared
with this one, and if it is not worse it pre-annotates what is left.

Ctrl-C ends everything and removes the demo's files."""
    )


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, so that nothing is left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("the demo ends")
    finally:
        signal.signal(signal.SIGTERM, before)
