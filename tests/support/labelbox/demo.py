"""``make demo-labelbox``: Labelbox's button from the request to COMPLETE, on one machine.

A stand-in answers Labelbox's SDK and shows its model runs as pages; Redis, the web process and a worker are LabelLoop's
own, with real settings. No account is used, and no Label Studio is needed.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click
import requests

from labelloop.children import start_child, stop_child
from labelloop.errors import LabelLoopError
from labelloop.settings import Settings
from labelloop.types import Json
from support.labelbox.materials import MODEL_TYPES, Material, model_run_of
from support.labelbox.service import Service, config_of, labelbox_service
from support.labelbox.stand_in import LabelboxStandIn, labelbox_stand_in
from support.servers import free_port

SEQUENCE = ["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE"]
USUAL = "image_single_classification"
_ENDED = ("COMPLETE", "FAILED")
_ASKED = {"request": "instances"}
"""Training config of a model run that is predicted for: in which format its endpoint is asked."""

_LOOK_SECONDS, _MOST_SECONDS = 0.2, 900.0
_ROWS, _UNLABELED = 160, 12


class NotAsItShouldBe(LabelLoopError):
    """The demo shows something other than it promises."""


def require(holds: object, what: str) -> None:
    """Raise NotAsItShouldBe unless something holds."""
    if not holds:
        raise NotAsItShouldBe(what)


@dataclass
class Demo:
    """A stand-in, LabelLoop beside it, and what is told of both; ``found`` is the report by model type."""

    labelbox: LabelboxStandIn
    service: Service
    found: dict[str, Json] = field(default_factory=dict)

    def show(self, name: str) -> Material:
        """Press the button for a model run of one type, twice; gives the model run."""
        material = model_run_of(self.labelbox, name, labeled=_ROWS, unlabeled=_UNLABELED)
        self.labelbox.model_runs.runs[material.run].config.update(config_of(material.settings))
        click.echo(f"\n{name}: model run {material.run}, {len(material.rows)} data rows")
        click.echo(f"  config: {json.dumps(self.labelbox.config(material.run))}")
        told, seconds = self._press(name, material.run, material.model)
        stages = self.labelbox.stages(material.run)
        require(stages == SEQUENCE, f"Labelbox was told {', '.join(stages)} instead of {', '.join(SEQUENCE)}")
        for key, value in told.items():
            click.echo(f"    {key:26} {value}")
        uploaded = self._uploaded(material.run)
        self.found[name] = {"seconds": round(seconds, 1), "metadata": told, **uploaded}
        self._ask("status", "--project", f"{material.run}/{name}")

        click.echo("  The button is pressed again: labels and settings are the same.")
        before = len(self.labelbox.statuses(material.run))
        again, seconds = self._press(name, material.run, material.model)
        require("train" not in self._stages(material.run, before), "it was trained once more")
        require(again == told, "the same labels led to something else")
        require(self._uploaded(material.run, say=False) == uploaded, "predictions were doubled or are others")
        click.echo(f"  Nothing was trained: {again['version']} stands, and its predictions are there once.")
        self.found[name]["again_seconds"] = round(seconds, 1)
        return material

    def show_inference(self, name: str, material: Material, endpoint: str, log: Path) -> None:
        """Put a type's version behind an endpoint, as a team's own model is, and choose its entry of the menu."""
        [entry] = [one for one in self.service.button.menu() if one.startswith("inference: ")]
        place = urlsplit(self.found[name]["metadata"]["model_weights"]).path
        rows = material.unlabeled
        run = self.labelbox.add_model_run(material.model, rows, config=_ASKED, name="rows that nobody has labeled")
        click.echo(f"\nThe entry {entry!r} asks {endpoint}, where `labelloop serve --bundle` has those weights.")
        click.echo(f"  model run {run}, {len(rows)} data rows, config: {json.dumps(_ASKED)}")
        with serving(Path(url2pathname(place)), urlsplit(endpoint).port or 0, log):
            told, seconds = self._press(entry, run, material.model)
        for key, value in told.items():
            click.echo(f"    {key:26} {value}")
        require("train" not in self._stages(run), "an inference entry has trained something")
        uploaded, answered = self._uploaded(run), told["rows_with_predictions"]
        require(answered == str(len(rows)), f"{answered} of {len(rows)} data rows were answered")
        require(uploaded["lines"], "no prediction lies in the model run")
        self.found["inference"] = {"seconds": round(seconds, 1), "metadata": told, **uploaded}

    def _stages(self, run: str, since: int = 0) -> set[str]:
        """Name the stages that a model run was at, by its statuses from a number on."""
        return {one.get("metadata", {}).get("stage", "") for one in self.labelbox.statuses(run)[since:]}

    def _ask(self, *words: str) -> None:
        """Run a command of LabelLoop, and show what it says."""
        done = self.service.labelloop(*words)
        click.echo(f"  $ labelloop {' '.join(words)}")
        for line in (done.stdout + done.stderr).splitlines():
            click.echo(f"    {line}")
        require(done.returncode == 0, f"labelloop {words[0]} ended with exit code {done.returncode}")

    def _press(self, entry: str, run: str, model: str) -> tuple[Json, float]:
        """Press the button and follow the statuses until one ends it; gives the last metadata, and the seconds."""
        seen, begun = len(self.labelbox.statuses(run)), time.monotonic()
        answer = self.service.button.press(entry, run, model)
        click.echo(f"  POST /model_run -> {json.dumps(answer)} after {1000 * (time.monotonic() - begun):.0f} ms")
        for told in self._told(run, seen):
            progress = told.get("metadata", {}).get("progress", "")
            click.echo(f"  {time.monotonic() - begun:6.1f} s  {told['status']:15} {progress}".rstrip())
        require(told["status"] == "COMPLETE", f"{entry}: {told.get('errorMessage', 'it ended as FAILED')}")
        facts = told["metadata"]
        require(all(isinstance(value, str) for value in facts.values()), "metadata that are no text")
        return facts, time.monotonic() - begun

    def _told(self, run: str, seen: int) -> Iterator[Json]:
        """Yield the statuses from number ``seen`` on, as they come, until one of them ends the model run."""
        give_up = time.monotonic() + _MOST_SECONDS
        while True:
            for told in self.labelbox.statuses(run)[seen:]:
                seen += 1
                yield told
                if told["status"] in _ENDED:
                    return
            require(self.service.worker.poll() is None, f"the worker has ended:\n{self.service.said[-3000:]}")
            require(
                time.monotonic() < give_up, f"nothing is over after {_MOST_SECONDS:g} s:\n{self.service.said[-3000:]}"
            )
            time.sleep(_LOOK_SECONDS)

    def _uploaded(self, run: str, *, say: bool = True) -> Json:
        """Count what lies in a model run, and say so."""
        imports, lines = self.labelbox.imports(run), self.labelbox.predictions(run)
        require(all(one.state == "FINISHED" for one in imports.values()), f"imports did not finish: {imports}")
        refused = [line for one in imports.values() for line in one.refused]
        require(not refused, f"Labelbox refused {len(refused)} lines, the first: {refused[:1]}")
        metrics = sum("metricName" in line for line in lines)
        rows = len({line["dataRow"]["id"] for line in lines if "metricName" not in line})
        if say:
            click.echo(
                f"  {len(lines)} lines lie in the model run: predictions of {rows} data rows, {metrics} metrics."
            )
            click.echo(f"  Look at them: {self.labelbox.url}/runs/{run}")
        return {"lines": len(lines), "rows": rows, "metrics": metrics}


@contextmanager
def serving(bundle: Path, port: int, log: Path) -> Iterator[None]:
    """Serve one bundle as the container of an endpoint does."""
    words = ["serve", "--bundle", str(bundle), "--host", "127.0.0.1", "--port", str(port)]
    child = start_child([sys.executable, "-m", "labelloop", *words], log=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", child, log)
        yield
    finally:
        stop_child(child, 10)


def _wait_for(url: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + 60
    while True:
        require(child.poll() is None and time.monotonic() < give_up, f"{url} is not up:\n{log.read_text()[-2000:]}")
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(_LOOK_SECONDS)


def _types(_context: click.Context, _option: click.Parameter, text: str) -> list[str]:
    names = [one.strip().lower() for one in text.split(",") if one.strip()]
    if unknown := [one for one in names if one not in MODEL_TYPES]:
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(MODEL_TYPES)}")
    return names or [USUAL]


@click.command()
@click.option("--types", default=USUAL, show_default=True, callback=_types, help="Model types, with commas between.")
@click.option("--auto", is_flag=True, help="End by itself, with exit code 0 where all was as it should be.")
@click.option("--port", default=0, help="Port of the stand-in and its pages; default: a free one.")
@click.option("--json", "report", type=click.Path(path_type=Path, dir_okay=False), help="Write what was found here.")
def main(types: list[str], *, auto: bool, port: int, report: Path | None) -> None:
    """Show what Labelbox's button does: statuses, version, predictions, and that the second time nothing is trained."""
    endpoint = f"http://127.0.0.1:{free_port()}/invocations"
    given = Settings(backbone="test_resnet", allowed_endpoints=(endpoint,))
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="labelloop-labelbox-")))
        labelbox = running.enter_context(labelbox_stand_in(folder / "labelbox", port))
        click.echo("A stand-in of Labelbox answers its SDK: no account is used, and nothing leaves this machine.")
        click.echo(f"Its model runs are shown at {labelbox.url}/")
        click.echo("Redis, the web process and a worker start.")
        service = running.enter_context(labelbox_service(labelbox, folder, given))
        demo = Demo(labelbox, service)
        try:
            _play(demo, types, endpoint, folder)
        except NotAsItShouldBe as error:
            raise click.ClickException(str(error)) from error
        finally:
            if report:
                report.write_text(json.dumps(demo.found, indent=1))
        click.echo("\nAll was as it should be.")
        if not auto:
            click.pause(f"The pages stay at {labelbox.url}/ until you press a key.")


def _play(demo: Demo, types: list[str], endpoint: str, folder: Path) -> None:
    menu = demo.service.button.menu()
    click.echo(f"GET /models -> {', '.join(menu)}")
    shown = {name: demo.show(name) for name in types}
    first = types[0]
    demo.show_inference(first, shown[first], endpoint, folder / "serve.log")


if __name__ == "__main__":
    main()
