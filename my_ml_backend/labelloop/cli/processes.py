"""The processes that LabelLoop consists of, each alone, all of one machine, or all with a Label Studio to look at.

What they run is imported when they are called: the inference image holds what ``serve`` needs, and no more.
"""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelloop.errors import LabelLoopError, SettingsError, UnsafeStore
from labelloop.settings import Settings

if TYPE_CHECKING:
    from labelloop.demo.run import Surroundings
    from labelloop.loop.hub import Hub

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_ANY = click.Path(path_type=Path, exists=True)

_DIGIT_PIXELS, _BOXES_PIXELS = 32, 128
"""What the demo's own pictures are trained at: one digit, or several on a canvas."""


@click.command()
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Serve this bundle only: a folder, or a model.tar.gz.",
)
@click.option("--host", help="Address to listen on; default: 127.0.0.1, in a cloud's container 0.0.0.0.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; default: the cloud's own variable, else 9091.")
@click.pass_obj
def serve(settings: Settings, bundle: Path | None, host: str | None, port: int | None) -> None:
    """Run the inference container: many projects' versions, or the one bundle a cloud has given it."""
    from labelloop.serve.options import ServeOptions
    from labelloop.serve.server import serve as run_server

    run_server(ServeOptions(bundle=bundle, host=host, port=port), settings)


@click.command()
@click.pass_obj
def worker(hub: "Hub") -> None:
    """Work on the queue: runs, pre-annotation, and the sweep's timer."""
    from labelloop.loop.worker import run_worker

    run_worker(hub)


@click.command()
@click.pass_obj
def web(hub: "Hub") -> None:
    """Run the web process alone, as gunicorn does: what Label Studio talks to."""
    from labelloop.web.machine import serve_web

    serve_web(hub)


@click.command()
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="Port of the web process; default: PORT, else 9090.")
@click.option("--host", help="Address it listens on; default: HOST, else 0.0.0.0.")
@click.option("-d", "--debug", is_flag=True, help="Log everything, as LOG_LEVEL=DEBUG does.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), help="Default: LOG_LEVEL.")
@click.option("--model-dir", help="Folder for caches, the default store and Redis; default: MODEL_DIR.")
@click.option("--check", is_flag=True, help="Make the backend once before anything is started.")
@click.option("--basic-auth-user", help="User that Label Studio must send; default: BASIC_AUTH_USER.")
@click.option("--basic-auth-pass", help="Its password; default: BASIC_AUTH_PASS.")
@click.option("--kwargs", "--with", "pairs", multiple=True, metavar="KEY=VAL...", help="Taken, and of no effect.")
@click.argument("more_pairs", nargs=-1, metavar="")
def start(*, debug: bool, log_level: str | None, check: bool, **given: Any) -> None:
    """Run all that one machine needs: Redis, inference, worker and web. Ctrl-C ends it.

    The flags are those of the `_wsgi.py` of label-studio-ml's backends; settings come from the environment.
    """
    from labelloop.web.machine import run_machine

    named = {
        "HOST": given["host"],
        "PORT": given["port"],
        "LOG_LEVEL": "DEBUG" if debug else log_level,
        "MODEL_DIR": given["model_dir"],
        "BASIC_AUTH_USER": given["basic_auth_user"],
        "BASIC_AUTH_PASS": given["basic_auth_pass"],
    }
    try:
        run_machine(
            {**os.environ, **{name: str(value) for name, value in named.items() if value is not None}}, check=check
        )
    except LabelLoopError as error:
        # By its name, for the line stands among those of the processes.
        click.echo(f"labelloop: {error}", err=True)
        sys.exit(os.EX_CONFIG if isinstance(error, SettingsError | UnsafeStore) else 1)


@click.command()
@click.option("--label-studio", type=_FILE, help="The label-studio program; default: the one on the PATH.")
@click.option(
    "--kind",
    type=click.Choice(["images", "text", "spans", "boxes"]),
    default="images",
    show_default=True,
    help="What is labeled: classes of pictures or texts, spans in texts, boxes in pictures.",
)
@click.option("--data", type=_ANY, help="Take these labeled examples, a file or folder of any format, and their kind.")
@click.option("--test-data", type=_ANY, help="With --data: measure on these; default: some are held out.")
@click.option("--backbone", help="Name of the timm network; default: LABELLOOP_BACKBONE, else test_resnet at 32 px.")
@click.option("--weights", help="Its first weights: a safetensors file, pretrained or none.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of Label Studio; default: 8080, or a free one.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep all files in this folder; the next demo with it goes on from there.",
)
@click.option("--auto", is_flag=True, help="Play an annotator who knows the answers, then end.")
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(0), help="With --auto: how many rounds.")
@click.option("--per-round", default=50, show_default=True, type=click.IntRange(1), help="Annotations a round.")
@click.option("--seed", default=0, show_default=True, help="Chooses which pictures are shown, and the run's seed.")
@click.option(
    "--json",
    "report",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="With --auto: write rounds here; default, and -: standard output.",
)
@click.pass_obj
def demo(hub: "Hub", /, label_studio: Path | None, backbone: str | None, weights: str | None, **options: Any) -> None:
    """Start everything with a real Label Studio, and show the loop turn."""
    play_demo(hub.settings, None, label_studio, backbone, weights, **options)


def play_demo(
    settings: Settings,
    around: "Surroundings | None",
    label_studio: Path | None,
    backbone: str | None,
    weights: str | None,
    **options: Any,
) -> None:
    """Run the demo as its command is asked for it, in whatever surroundings (None: this machine)."""
    from labelloop.demo.run import DemoOptions, run_demo

    if options["report"] == Path("-"):
        options["report"] = None
    found = label_studio or shutil.which("label-studio")
    if not found:
        raise click.ClickException(
            "no label-studio program: name it with --label-studio, or use `make demo`, which installs one"
        )
    settings = replace(settings, seed=options["seed"])
    if backbone or weights:
        settings = replace(settings, backbone=backbone or settings.backbone, weights=weights or settings.weights)
    elif settings.backbone == Settings.backbone:
        size = _BOXES_PIXELS if options["kind"] == "boxes" else _DIGIT_PIXELS
        settings = replace(settings, backbone="test_resnet", weights="none", image_size=size)
    run_demo(DemoOptions(label_studio=Path(found), **options), settings, click.echo, around)
