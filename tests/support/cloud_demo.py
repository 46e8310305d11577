"""A demo of the loop in a cloud, on one machine: a real Label Studio, our own code, and a stand-in of the cloud.

Pictures come from a bucket and annotations go to one; what trains, registers, serves and tells of it is the cloud's.
Everything asks as it would ask the cloud; the stand-in answers, and runs jobs and endpoints as processes of this
machine. What happened is said line by line, with what it led to. What is another in each cloud is a subclass here.
"""

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from labelloop.cli.processes import demo, play_demo
from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.run import Surroundings
from labelloop.errors import LabelLoopError
from labelloop.logs import start_logging
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.types import Json

NAME = "labelloop-demo"
"""Of whatever has a name in the cloud."""

RAW, ANNOTATIONS = "raw/", "annotations/"

_TASKS_SECONDS = 300


class InCloud(Surroundings, ABC):
    """The demo's pictures in a bucket; trainer, registry, deployer and endpoint in the cloud.

    ``kind`` is what Label Studio calls storages there, ``bucket`` the address of the one that holds everything;
    ``calls`` are those that were made, and ``meaning`` says of some of them what changed by them.
    """

    kind: str
    bucket: str
    meaning: Mapping[str, str]

    def __init__(self) -> None:
        self._told, self._objects, self._at = 0, 0, time.monotonic()

    @property
    @abstractmethod
    def calls(self) -> Sequence[str]:
        """What was asked of the cloud, in order."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Write a picture into the bucket."""

    @abstractmethod
    def storage(self) -> Json:
        """Say how Label Studio reaches the bucket: the fields of its storages."""

    def tell_more(self) -> None:
        """Say what is new beside calls and objects."""

    def object_written(self) -> None:
        """Count an object that the cloud told the queue of."""
        self._objects += 1

    def fill(self, studio: LabelStudio, client: Studio, project: int, examples: Examples) -> dict[int, Example]:
        """Put the pictures into the bucket, and let Label Studio find them there; annotations go back to the bucket."""
        storage = {"project": project, **self.storage()}
        source = {"title": "raw pictures", "prefix": RAW.rstrip("/"), "regex_filter": r".*\.png", "use_blob_urls": True}
        right = {f"{RAW}{number:05}.png": picture for number, picture in enumerate(examples.shown)}
        for number, (key, picture) in enumerate(right.items()):
            self.put(key, picture.content)
            if number == 0:
                # Label Studio takes no storage with nothing in it.
                studio.request("POST", f"/api/storages/{self.kind}", json=storage | source)
        target = {"title": "annotations", "prefix": ANNOTATIONS.rstrip("/"), "can_delete_objects": True}
        studio.request("POST", f"/api/storages/export/{self.kind}", json=storage | target)
        # The loop hears of them by the queue, and has Label Studio sync its storage.
        give_up = time.monotonic() + _TASKS_SECONDS
        while len(tasks := list(client.tasks(project))) < len(right):
            if time.monotonic() > give_up:
                raise LabelLoopError(f"Label Studio has {len(tasks)} of {len(right)} tasks after {_TASKS_SECONDS} s")
            self.tend()
            time.sleep(1)
        return {task["id"]: right[task["data"]["image"].removeprefix(f"{self.bucket}/")] for task in tasks}

    def tend(self) -> None:
        """Say what happened since, at most once a second."""
        if time.monotonic() - self._at < 1:
            return
        self._at = time.monotonic()
        if self._objects:
            click.echo(f"  event: {self._objects} objects written -> queue -> the loop looks at what has changed")
            self._objects = 0
        calls = list(self.calls)
        for call in calls[self._told :]:
            if call in self.meaning:
                click.echo(f"  call:  {call}: {self.meaning[call]}")
        self._told = len(calls)
        self.tell_more()


def demo_command(
    cloud: str, open_stand_in: Callable[[Path], AbstractContextManager[Any]], around: Callable[[Any], InCloud]
) -> click.Command:
    """Make the command that shows the loop in a cloud, called ``cloud`` in sentences.

    ``open_stand_in`` opens the cloud's stand-in in a folder, with the address ``url`` and the variables by which
    programs find it in its ``environment``; ``around`` makes of it what the demo has around it.
    """

    def play(**asked: Any) -> None:
        start_logging("WARNING")
        with tempfile.TemporaryDirectory(prefix="labelloop-cloud-") as folder, open_stand_in(Path(folder)) as there:
            click.echo(
                f"A stand-in of {cloud} answers at {there.url}: no account is used, and nothing leaves this machine."
            )
            try:
                play_demo(Settings.from_environment(), around(there), **asked)
            except LabelLoopError as error:
                raise click.ClickException(str(error)) from error

    return click.Command(
        "demo",
        params=[one for one in demo.params if one.name != "keep"],
        callback=play,
        help=f"Show the loop turn on {cloud}, with a stand-in of it and a real Label Studio.",
    )
