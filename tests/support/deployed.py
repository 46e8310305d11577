"""An endpoint that a deploy script of one's own brings versions to: a real HTTP server, and a real program."""

import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from support.misbehaving import Exchange, Misbehaving, answer, misbehaving

_SCRIPT = """#!/bin/sh
# deploy FOLDER, rollback FOLDER, state: as docs/deployers.md has it. What it does is in files beside it.
cd "$(dirname "$0")" || exit 1
if [ "$1" = state ]; then
    [ -f absent ] && { printf '{"absent": true}'; exit 0; }
    [ -f silent ] && { echo "the cloud does not answer" >&2; exit 4; }
    serving=$(cat serving)
    between=$([ -f between ] && [ ! -f late ] && sed 's/[^ ][^ ]*/"&"/g; s/ /, /g' between)
    printf '{"version": "%s", "since": "%s", "between": [%s], "reason": "%s"}' \\
        "$serving" "$(cat since)" "$between" "$([ -f reason ] && cat reason)"
    exit 0
fi
version=$(sed -n 's/.*"version": "\\([^"]*\\)".*/\\1/p' "$2/deployment.json")
echo "$1 $version $LABELLOOP_PROJECT" >> calls
[ -f hold ] && sleep 600
[ -f refuse ] && { echo "$(cat refuse)" >&2; exit 3; }
cp "$2/deployment.json" "$2/bundle/model.onnx" .
if [ -f slow ]; then
    echo $(cat serving) "$version" > .between && mv .between between
else
    rm -f between
    echo "$version" > .serving && mv .serving serving
    echo "2026-11-29T12:00:00Z" > since
fi
echo "brought $version" >&2
"""


@dataclass
class Place:
    """The folder of a deploy script, and the server that answers by what it has brought.

    ``named`` has the model name its version in each answer; ``told`` the transport, as SageMaker's does. Whatever it is
    asked, the answer is the first of ``classes``.
    """

    folder: Path
    server: Misbehaving
    named: bool = False
    told: bool = False
    classes: tuple[str, str] = ("cat", "dog")
    asked: int = 0

    @property
    def endpoint(self) -> str:
        """Where the endpoint is."""
        return f"{self.server.address}/predict"

    @property
    def deployer(self) -> str:
        """The script, which can be asked for its state, and told to roll back."""
        return f"{self.plain}?verbs=state,rollback"

    @property
    def plain(self) -> str:
        """The script as one that only deploys."""
        return f"command:{shlex.quote(str(self.folder / 'deploy.sh'))}"

    @property
    def calls(self) -> list[str]:
        """What the script was called for, and with which version, in order; not its state."""
        path = self.folder / "calls"
        return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def serving(self) -> list[str]:
        """What answers."""
        found = self.folder / "between"
        return (found if found.exists() else self.folder / "serving").read_text().split()

    def write(self, name: str, content: str) -> None:
        """Tell the script something."""
        (self.folder / f".{name}").write_text(content)
        (self.folder / f".{name}").rename(self.folder / name)

    def remove(self, *names: str) -> None:
        """Take it back."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def arrive(self, version: str) -> None:
        """What was on its way is there."""
        self.write("serving", version)
        self.write("since", "2026-11-29T13:00:00Z")
        self.remove("between")


@contextmanager
def running_place(folder: Path) -> Iterator[Place]:
    """Run the endpoint; it holds a model of the team's own that is called by no version, or ``team-model``."""
    folder.mkdir()
    script = folder / "deploy.sh"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    numbers, lock = count(), threading.Lock()

    def reply(exchange: Exchange) -> None:
        with lock:
            serving = place.serving
            version = serving[next(numbers) % len(serving)] if serving else "team-model"
            place.asked += 1
        best, other = place.classes
        one = {"label": best, "score": 0.75, "scores": {best: 0.75, other: 0.25}, "kind": "single"}
        said = {"model_version": version} if place.named else {}
        headers = f"x-Amzn-Invoked-Production-Variant: variant-{version}\r\n" if place.told else ""
        content = json.dumps({"predictions": [one | said]}).encode()
        answer(content, headers=f"Content-Type: application/json\r\n{headers}")(exchange)

    with misbehaving(reply) as server:
        place = Place(folder, server)
        place.write("serving", "")
        place.write("since", "")
        yield place
