"""``command:./train.sh``: training as somebody else's program (docs/trainers.md)."""

import hashlib
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from labelloop.commands import Command, Ended
from labelloop.data.formats.listings import FORMATS
from labelloop.errors import RunOccupied, SettingsError, TrainerAway, TrainingDied, TrainingError
from labelloop.files import file_lock
from labelloop.trainers.base import Training, over_time
from labelloop.trainers.handover import Handover, read_predictions, write_items
from labelloop.trainers.results import take_result
from labelloop.types import Answer, Failure, Input, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

_log = logging.getLogger(__name__)

VERBS = ("start", "find", "poll", "collect", "cancel", "predict")

_LONG_SECONDS, _SHORT_SECONDS = 3600.0, 300.0
"""What a verb may take: those that move files, and those that ask."""

_OCCUPIED_SECONDS = 15.0

_PROGRESS = re.compile(r"progress\s+(\d{1,15})\s+(\d{1,15})(?:\s+(\S.*))?")
_BEAT_SECONDS = 1.0


class CommandTrainer:
    """Runs a program with a folder: to its end, or, where it has the verb ``start``, by verbs.

    It trains ``elsewhere`` where it can be asked how that stands: with the verbs ``start`` and ``poll``. Otherwise it
    holds the worker, and ends with it. A child of an earlier attempt that is just being ended is waited for, up to
    ``occupied_seconds``.
    """

    def __init__(self, address: str, occupied_seconds: float = _OCCUPIED_SECONDS) -> None:
        self._occupied_seconds = occupied_seconds
        self._command = Command.parse(address, VERBS, ("format",))
        self._form = self._command.options.get("format", "labelloop")
        self.name = self._command.name
        verbs = self._command.verbs
        if self._form not in FORMATS:
            raise SettingsError(f"command: there is no format {self._form[:40]!r}. There are {', '.join(FORMATS)}")
        if "start" not in verbs and (alone := sorted(verbs - {"predict"})):
            raise SettingsError(f"command: the verb {alone[0]} is for what the verb start began: name start, too")
        if "poll" not in verbs and (alone := sorted(verbs & {"find", "cancel"})):
            raise SettingsError(f"command: the verb {alone[0]} is for what goes on after start: name poll, too")
        self.ours = False
        self.predicts, self.elsewhere = "predict" in verbs, {"start", "poll"} <= verbs

    def check(self, *, thorough: bool) -> None:  # noqa: ARG002 - see Trainer
        """Look whether the program is there."""
        if missing := self._command.missing:
            raise TrainingError(f"{missing}: workers start it from the folder that they were started in")

    def start(self, context: "Context", key: str) -> str:
        """Train, or begin to; see Trainer. Raises RunOccupied while an earlier child of this run is at work."""
        handover = Handover(context.folder.command)
        handover.path.mkdir(parents=True, exist_ok=True)
        occupied = RunOccupied(
            f"an earlier attempt at the training in {handover.path} is still at work: it is waited for, or end it"
        )
        with file_lock(handover.path / ".lock", self._occupied_seconds, inherited=True, occupied=occupied) as lock:
            if known := self._known(handover, key):
                return known
            seconds = context.settings.training_seconds
            lost = handover.write(context, key, self._form, time.time() + seconds)
            (handover.path / ".lost").write_text(json.dumps(lost))
            if not self.elsewhere:
                handle = self._train(context, handover, key, lock)
            else:
                handle = self._verb("start", handover.name, seconds=_LONG_SECONDS, key=key).last_line
                if not handle:
                    raise TrainingError(f"{self.name} start wrote no handle: its last line must be one")
            (handover.path / ".handle").write_text(json.dumps({"key": key, "handle": handle}))
            return handle

    def find(self, key: str) -> str:
        """Ask for the newest training of a key; empty where the program has no such verb."""
        return self._verb("find", key, error=TrainerAway).last_line if "find" in self._command.verbs else ""

    def poll(self, handle: str) -> Training:
        """Ask how it stands; a training that holds its worker is over when anybody can ask."""
        if not self.elsewhere:
            return Training("done")
        ended = self._verb("poll", handle, error=TrainerAway)
        told = ended.output
        try:
            # The whole of it, or its last line, where a program cannot keep to itself what it does.
            return _training(_json(told) or json.loads(ended.last_line))
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(
                f'{self.name} poll must write a JSON object, as in {{"state": "running", "done": 3, "total": 10}}, and '
                f"wrote {told.strip()[:100]!r}"
            ) from error

    def collect(self, handle: str, context: "Context") -> Json:
        """Take over what was left: a bundle, or the name of a model and what that answers to the test items."""
        begun, handover = time.monotonic(), Handover(context.folder.command)
        if "collect" in self._command.verbs:
            handover.empty_output()
            self._verb("collect", handle, handover.name, seconds=_LONG_SECONDS)
        lost = [f"the format {self._form} does not carry {what}" for what in _lost(handover)]
        return take_result(context, handover, "command", lost, begun, self.predict if self.predicts else None)

    def cancel(self, handle: str) -> None:
        """Have it ended; what holds a worker ends with that."""
        if "cancel" in self._command.verbs:
            self._verb("cancel", handle, error=TrainerAway)

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        """Ask a model for answers; see Trainer."""
        contents = [hashlib.sha256(_content(one)).hexdigest() for one in inputs]
        with tempfile.TemporaryDirectory(prefix="labelloop-predict-") as place:
            folder, asked = Path(place) / "inputs", Path(place) / "items.jsonl"
            folder.mkdir()
            write_items(inputs, contents, folder, asked)
            with asked.open("rb") as stdin:
                ended = self._verb("predict", "--model", model, seconds=_LONG_SECONDS, stdin=stdin)
        return read_predictions(ended.output, contents, inputs, model, classes)

    def _known(self, handover: Handover, key: str) -> str:
        """Give the handle of what has begun for a key and has not failed; empty where nothing has, or it has failed."""
        if not self.elsewhere:
            return ""
        handle = self.find(key) if "find" in self._command.verbs else _noted(handover, key)
        return handle if handle and self.poll(handle).state != "failed" else ""

    def _train(self, context: "Context", handover: Handover, key: str, lock: IO[bytes]) -> str:
        """Run the program to its end, and give the handle; raises TrainingError beyond its time, TrainingDied."""
        verb = ("start",) if "start" in self._command.verbs else ()
        told = _Told(context.progress)
        seconds = context.settings.training_seconds
        ended = self._command.run(
            *verb,
            handover.name,
            seconds=seconds,
            line=told.line,
            check=told.beat,
            environment={"LABELLOOP_RUN_KEY": key},
            keep=(lock.fileno(),),
        )
        if ended.late:
            raise over_time(self.name, ended.problem)
        if ended.problem:
            raise TrainingDied(f"the training by {self.name} {ended.problem}")
        return (ended.last_line if verb else "") or key

    def _verb(
        self,
        verb: str,
        *arguments: str,
        seconds: float = _SHORT_SECONDS,
        stdin: IO[bytes] | None = None,
        error: type[TrainingError] = TrainingDied,
        key: str = "",
    ) -> Ended:
        """Run a verb to its end; raises ``error`` where it fails."""
        if verb not in self._command.verbs:
            raise TrainingError(f"{self.name} has no verb {verb}: LABELLOOP_TRAINER must name it, as in ?verbs={verb}")
        environment = {"LABELLOOP_RUN_KEY": key} if key else {}
        ended = self._command.run(verb, *arguments, seconds=seconds, stdin=stdin, environment=environment)
        if ended.problem:
            raise error(f"{self.name} {verb} {ended.problem}")
        return ended


class _Told:
    """Hears how far a program says it is, and tells it on: at once what is new, else every second that it goes on."""

    def __init__(self, progress: Callable[[str, int, int], None]) -> None:
        self._progress, self._state, self._at = progress, ("training", 0, 0), 0.0

    def line(self, text: str) -> None:
        """Hear a line of output; what is no progress goes to the log."""
        found = _PROGRESS.fullmatch(text.strip())
        if found is None:
            _log.info("%s", text)
            return
        self._state = found[3] or "training", int(found[1]), int(found[2])
        self._at = 0.0

    def beat(self) -> None:
        """Tell it; raises what ends the run."""
        now = time.monotonic()
        if now - self._at >= _BEAT_SECONDS:
            self._at = now
            self._progress(*self._state)


def _noted(handover: Handover, key: str) -> str:
    """Give the handle that was noted when the training of a key began here; empty where none was."""
    try:
        found = json.loads((handover.path / ".handle").read_text())
    except (OSError, ValueError):
        return ""
    return str(found["handle"]) if found.get("key") == key else ""


def _lost(handover: Handover) -> list[str]:
    try:
        return [str(what) for what in json.loads((handover.path / ".lost").read_text())]
    except (OSError, ValueError):
        return []


def _json(text: str) -> Any:
    """Read JSON; None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _training(told: Any) -> Training:
    """Read what ``poll`` says; raises ValueError, TypeError or KeyError."""
    state = told["state"]
    if state not in ("running", "done", "failed"):
        raise ValueError(f"{state!r} is no state")
    what, reason = str(told.get("what") or "training"), str(told.get("reason") or "")
    return Training(state, what, int(told.get("done") or 0), int(told.get("total") or 0), reason)


def _content(one: Input) -> bytes:
    return one.content if one.text is None else one.text.encode(errors="surrogatepass")
