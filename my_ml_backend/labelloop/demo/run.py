"""Runs the demo: everything on this machine, from nothing to a Label Studio whose pictures are pre-annotated."""

import json
import logging
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn, Self

from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.layouts import LAYOUTS, label_config, upload
from labelloop.demo.pictures import canvases, digits
from labelloop.demo.ports import Ports, child_environment, demo_settings, still_free
from labelloop.demo.rounds import Annotator, RoundReport, Rounds
from labelloop.demo.texts import documentation, notes
from labelloop.environment import environment_of
from labelloop.errors import SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.project_registry import confirmed_project, remember_project
from labelloop.loop.serving import announced_version
from labelloop.loop.startup import keep_private
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from labelloop.studio.data_manager import put_review_tab
from labelloop.supervise import Supervisor
from labelloop.web.machine import address, machine_services

_FIRST_LABELS = 60
_TASKS, _NOTES, _CANVASES = 800, 300, 300
"""How many examples are shown to annotators: digits and texts, notes, canvases; the others are held out."""

_ALWAYS = frozenset(
    (
        "LABEL_STUDIO_URL",
        "LABEL_STUDIO_API_KEY",
        "LABELLOOP_REDIS_URL",
        "LABELLOOP_ENDPOINT",
        "MODEL_DIR",
        "HOST",
        "PORT",
    )
)
"""What leads to the demo, also where it is the usual value: the shell may have set another one."""


@dataclass(frozen=True)
class DemoOptions:
    """What ``labelloop demo`` was asked for (docs/demo.md)."""

    label_studio: Path
    kind: str = "images"
    data: Path | None = None
    test_data: Path | None = None
    auto: bool = False
    rounds: int = 4
    per_round: int = 50
    seed: int = 0
    report: Path | None = None
    port: int | None = None
    keep: Path | None = None


@dataclass(frozen=True)
class Kept:
    """``demo.json`` in a folder that is kept: where the demo listens, its project, and what is labeled there."""

    ports: Ports
    project: int
    kind: str = "images"

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read what an earlier demo left in a folder; None where there was none. Raises SettingsError."""
        path = folder / "demo.json"
        try:
            found = json.loads(path.read_text())
            return cls(Ports(**found["ports"]), int(found["project"]), str(found.get("kind", "images")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"--keep {folder}: {path} cannot be read ({error}); name another folder") from error

    def write(self, folder: Path) -> None:
        """Write it, as the last thing that makes the folder one to go on from."""
        (folder / "demo.json").write_text(json.dumps(asdict(self)))


class Surroundings:
    """Where a demo's pictures, versions and endpoint are: on this machine, unless a subclass says otherwise."""

    def settings(self, settings: Settings) -> Settings:
        """Give the settings of LabelLoop's processes: those that are for this machine, changed."""
        return settings

    def studio_environment(self) -> Mapping[str, str]:
        """Give the variables that Label Studio needs to reach what it is to show."""
        return {}

    def fill(self, studio: LabelStudio, client: Studio, project: int, examples: Examples) -> dict[int, Example]:
        """Make the project's tasks of what is to be shown, and give each one's example."""
        return upload(studio, client, project, examples)

    def tend(self) -> None:
        """Do what has to be done now and then."""


def run_demo(
    options: DemoOptions, settings: Settings, say: Callable[[str], None], around: Surroundings | None = None
) -> None:
    """Run until Ctrl-C, or with ``auto`` until the last round is written; raises LabelLoopError.

    All files lie in a temporary folder that is removed at the end, or in ``keep``, from where the next demo goes on.
    """
    around = around or Surroundings()
    with _folder(options.keep) as folder, _ending_on_sigterm():
        kept = Kept.read(folder)
        if kept is not None:
            _require_resumable(options, kept)
            kept.ports.require()
            with _running(options, settings, folder, kept.ports, say, around) as demo:
                _connect(demo, kept.project, say)
                say(f"The demo goes on with version {_version(demo.hub, kept.project)}.")
                _wait(options, demo, kept.project, say)
        ports = Ports.choose(options.port)
        examples = _examples(options, settings, folder, say)
        # So many are annotated first, and no version is made of fewer, however slowly that goes.
        first = max(settings.min_labels, min(_FIRST_LABELS, len(examples.shown)))
        with _running(options, replace(settings, min_labels=first), folder, ports, say, around) as demo:
            project = _begin(options, demo, examples, say)
            if options.keep is not None:
                Kept(Ports.of(demo.hub.settings), project, options.kind).write(folder)
            if not options.auto:
                _wait(options, demo, project, say)


@dataclass(frozen=True)
class _Demo:
    """What runs: Label Studio, and LabelLoop's processes with their supervisor."""

    hub: Hub
    client: Studio
    studio: LabelStudio
    supervisor: Supervisor
    around: Surroundings

    def tend(self) -> None:
        """Look after all that runs."""
        self.supervisor.tend()
        self.around.tend()


@contextmanager
def _running(
    options: DemoOptions,
    settings: Settings,
    folder: Path,
    ports: Ports,
    say: Callable[[str], None],
    around: Surroundings,
) -> Iterator[_Demo]:
    """Start everything at these ports, and end it with the block."""
    settings = around.settings(demo_settings(settings, folder, options.per_round, ports))
    say(f"Label Studio starts at {settings.label_studio_url} (about 20 s the first time) ...")
    more = around.studio_environment()
    with LabelStudio(options.label_studio, folder / "label-studio", ports.label_studio, environment=more) as studio:
        if not (folder / "demo.json").is_file():
            settings = still_free(settings)
        settings = replace(settings, label_studio_api_key=studio.token)
        say("LabelLoop's processes start ...")
        keep_private(settings.directory)
        supervisor = Supervisor(machine_services(settings, child_environment(settings)))
        try:
            supervisor.start()
            yield _Demo(open_hub(settings), Studio.of(settings), studio, supervisor, around)
        finally:
            supervisor.stop()


def _wait(options: DemoOptions, demo: _Demo, project: int, say: Callable[[str], None]) -> NoReturn:
    """Invite to look, and keep everything running until Ctrl-C."""
    say(_invitation(demo, project, options))
    while True:
        demo.tend()
        time.sleep(0.2)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="labelloop-demo-") as name:
            yield Path(name)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()) and not (keep / "demo.json").exists():
        raise SettingsError(f"--keep {keep}: it holds something that no finished start of the demo left; name another")
    yield keep.absolute()


def _require_resumable(options: DemoOptions, kept: Kept) -> None:
    """Refuse what only a new demo could follow."""
    if options.auto or options.data is not None:
        raise SettingsError(
            f"--keep {options.keep} goes on with the demo that is there, and --auto and --data begin another one: "
            "name another folder"
        )
    if options.kind != kept.kind:
        raise SettingsError(
            f"--keep {options.keep} goes on with a demo of --kind {kept.kind}: add that, or name another"
        )
    if options.port not in (None, kept.ports.label_studio):
        raise SettingsError(
            f"--keep {options.keep} goes on at port {kept.ports.label_studio}, where its pages are: leave --port out"
        )


def _examples(options: DemoOptions, settings: Settings, folder: Path, say: Callable[[str], None]) -> Examples:
    if options.data is not None:
        found = Examples.read(options.data, options.test_data, options.seed, settings.min_labels)
        if found.kind not in LAYOUTS:
            raise SettingsError(f"--data {options.data} is for {found.kind}, of which there is no demo")
        for remark in found.remarks:
            say(remark)
        return found
    if options.kind == "text":
        return documentation(options.seed, _TASKS)
    if options.kind == "spans":
        return notes(options.seed, _NOTES)
    written = folder / "pictures"
    written.mkdir()
    return (
        canvases(written, options.seed, _CANVASES) if options.kind == "boxes" else digits(written, options.seed, _TASKS)
    )


def _begin(options: DemoOptions, demo: _Demo, examples: Examples, say: Callable[[str], None]) -> int:
    """Make a project, have it annotated, wait for its first version, and play the rounds; gives its number."""
    hub = demo.hub
    project = demo.studio.create_project("LabelLoop demo", label_config(examples))
    _connect(demo, project, say)
    say(f"{len(examples.shown)} tasks are uploaded ...")
    answers = demo.around.fill(demo.studio, demo.client, project, examples)
    first, place = hub.settings.min_labels, confirmed_project(hub, project)[0]
    say(f"{first} tasks are annotated, then the first version is trained ...")
    layout = LAYOUTS[examples.kind]
    with closing(Annotator(demo.client, hub.settings.label_studio_url, project, answers, layout)) as annotator:
        rounds = Rounds(hub, place, annotator, examples, say, demo.tend)
        reports = [rounds.first(sorted(answers), first)]
        _tell(reports[-1], say)
        if options.auto:
            for number in range(1, options.rounds + 1):
                reports.append(rounds.play(number, options.per_round))
                _tell(reports[-1], say)
            _write(options, reports, say)
    return project


def _connect(demo: _Demo, project: int, say: Callable[[str], None]) -> None:
    """Connect the project, or one that was kept anew: its token is another one, and so is the webhook's secret."""
    hub = demo.hub
    url = f"http://127.0.0.1:{hub.settings.port}"
    for line in connect(demo.client, project, url, hub.settings, _version(hub, project)):
        say(f"  {line}")
    remember_project(hub, confirmed_project(hub, project)[0], url)


def _version(hub: Hub, project: int) -> str:
    return announced_version(hub, confirmed_project(hub, project)[0])


def _tell(report: RoundReport, say: Callable[[str], None]) -> None:
    agreement = "" if report.agreement is None else f", pre-annotations right {report.agreement:.0%}"
    say(
        f"round {report.round}: {report.annotations} annotations, {report.version} ({report.recipe}), {report.measure} "
        f"{report.test:.3f} on held-out examples{agreement}, {report.seconds_to_predictions:.1f} s to new predictions\n"
        f"  {report.verdict}"
    )


def _write(options: DemoOptions, reports: list[RoundReport], say: Callable[[str], None]) -> None:
    text = json.dumps([report.to_json() for report in reports], indent=2)
    if options.report is None:
        say(text)
    else:
        options.report.write_text(text + "\n")
        say(f"written to {options.report}")


def _invitation(demo: _Demo, project: int, options: DemoOptions) -> str:
    """Say where to look, how to log in, and what a second terminal needs to try commands on this very project."""
    hub, studio = demo.hub, demo.studio
    version = _version(hub, project)
    python = shlex.quote(sys.executable)
    end = "Ctrl-C ends everything and removes the demo's files (--keep DIR keeps them)."
    if options.keep is not None:
        end = f"Ctrl-C ends everything; the same command goes on from {options.keep}."
    return f"""
Label Studio:  {put_review_tab(demo.client.api, project)}
Log in as:     {studio.email}  password  {studio.password}
Dashboard:     http://{address(hub.settings.host, hub.settings.port)}/dashboard

The tab shows what {version} has pre-annotated and nobody has looked at, the least certain first. Press Label All
Tasks and correct or submit {options.per_round} of them, then pause: a new version is trained and compared with this
one, and unless it is measured to be worse it pre-annotates what is left.

To try commands on it, paste this into a second terminal:

{exports(hub.settings)}
{python} -m labelloop status
{python} -m labelloop report --project {project} --output report.html

{end}"""


def exports(settings: Settings) -> str:
    """Spell what the demo sets, and whatever else is not usual, as lines for a shell, whatever that has set before."""
    usual, mine = environment_of(Settings()), environment_of(replace(settings, store=settings.store_address))
    differing = {name: value for name, value in mine.items() if value != usual[name] or name in _ALWAYS}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(differing.items()))


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
