"""The ``labelloop`` command. Here errors end as one line and exit code 1; wrong usage is exit code 2."""

import json
import logging
import os
import shutil
import sys
from contextlib import closing, suppress
from dataclasses import asdict, fields, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from labelloop import __version__
from labelloop.cli.adopt import adopt
from labelloop.cli.border import STDOUT, explain
from labelloop.cli.doctor import diagnose
from labelloop.cli.endpoint_suite import test_endpoint
from labelloop.cli.export import export
from labelloop.cli.label_errors import label_errors
from labelloop.cli.manifest import manifest
from labelloop.cli.move import move
from labelloop.cli.report import report
from labelloop.cli.search import search
from labelloop.cli.terminal import Bar, follow, follow_elsewhere, show, standing
from labelloop.cli.train import stage, train
from labelloop.errors import Damaged, LabelLoopError, SettingsError, StoreError, StudioError, UnsafeStore
from labelloop.logs import start_logging
from labelloop.loop import queue, registry
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.prelabel import prelabel
from labelloop.loop.process import open_hub
from labelloop.loop.progress import Reporter
from labelloop.loop.registry import confirmed_project, existing_project, site_of
from labelloop.loop.serving import (
    announced_version,
    hear,
    learn,
    learn_unknown,
    needless_bootstrap,
    open_for,
    project_endpoint,
    require_learning,
    serving,
    share,
)
from labelloop.loop.startup import keep_private, refuse_impossible, warn_of_unknown
from labelloop.loop.status import known_projects, left_over, project_status
from labelloop.loop.sweep import sweep as sweep_projects
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.open_run import OpenRuns
from labelloop.models.versions import Versions, state_of
from labelloop.run.verdict import force_version
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect as connect_project
from labelloop.types import NO_VERSION, ProjectKey

_PROCESSES = ("serve", "train", "web", "worker")
"""The commands that a start consists of: they say which variables are no settings."""

_RESTARTED = ("serve", "web", "worker")

_log = logging.getLogger(__name__)


class _Impossible(click.ClickException):
    """Settings that a process cannot work with; whoever starts it again when it ends need not (sysexits.h)."""

    exit_code = os.EX_CONFIG


class _Commands(click.Group):
    """Turns what a command cannot get past into one line and exit code 1, and shows the settings below the commands."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabelLoopError as error:
            never = isinstance(error, SettingsError | UnsafeStore) and ctx.invoked_subcommand in _RESTARTED
            raise (_Impossible if never else click.ClickException)(str(error)) from error
        except (ImportError, OSError, UnicodeDecodeError) as error:
            told = explain(error)
            if not told:
                raise
            _log.debug("%s", told, exc_info=True)
            raise click.ClickException(told) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Settings (environment variables)"):
            formatter.write_dl([(row["name"], f"{row['help']} [{row['default']}]") for row in settings_table()])


def settings_table() -> list[dict[str, str]]:
    """List all settings as name, default and help, for the CLI's help and the docs."""
    return [
        {
            "name": entry.metadata["name"],
            "default": ",".join(entry.default) if isinstance(entry.default, tuple) else str(entry.default),
            "help": entry.metadata["help"],
        }
        for entry in fields(Settings)
    ]


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_BUNDLE = click.Path(path_type=Path, exists=True)

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_project = click.option(
    "--project", "project_id", type=click.IntRange(1), required=True, help="Label Studio's project id."
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Pre-annotate in Label Studio, learn from corrections, retrain, promote what is not measured to be worse."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A label may hold what no encoding can write, half a surrogate pair for one.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if ctx.invoked_subcommand == "doctor":
            settings, ctx.meta["labelloop.faults"] = Settings.read()
        else:
            settings = Settings.from_environment()
        start_logging(settings.log_level)
    except LabelLoopError as error:
        raise click.ClickException(str(error)) from error
    if ctx.invoked_subcommand in _PROCESSES:
        warn_of_unknown(os.environ)
    ctx.obj = open_hub(settings)


@main.command()
@_project
@click.option("--url", required=True, help="Address of this backend as Label Studio reaches it: http://host:9090.")
@click.option("--extra-params", help="What this project wants, as JSON: '{\"threshold\": 0.5}'; default: as it was.")
@_json
@click.pass_obj
def connect(hub: Hub, project_id: int, url: str, extra_params: str | None, as_json: bool) -> None:
    """Register this backend with a project, or mend its registration: webhook, secret header, sampling."""
    project, _ = confirmed_project(hub, project_id)
    wanted = None
    if extra_params is None:
        learn_unknown(hub, project)
    else:
        open_for(hub, extra_params)
        wanted = json.loads(extra_params)
        hear(hub, project, wanted)
        share(hub, project)
    version = announced_version(hub, project)
    with closing(Studio.of(hub.settings)) as studio:
        done = connect_project(studio, project_id, url, hub.settings, version, wanted)
    if needless := needless_bootstrap(project_endpoint(hub, project)):
        done.append(f"A bootstrap endpoint is named, and {needless}.")
    registry.remember_project(hub, project, url)
    show(as_json, {"project": project_id, "done": done}, done)


@main.command()
@click.option("--project", "project_id", type=click.IntRange(1), help="Look at this project too.")
@_json
@click.pass_context
def doctor(ctx: click.Context, project_id: int | None, as_json: bool) -> None:
    """Check everything the loop needs; each finding comes with its remedy. Exit code 1 when something is wrong."""
    findings = []
    for finding in diagnose(ctx.obj, project_id, os.environ, ctx.meta.get("labelloop.faults", {})):
        findings.append(finding)
        if not as_json:
            mark = "BAD " if not finding.ok else "warn" if finding.remedy else "ok  "
            click.echo(f"{mark} {finding.name}: {finding.detail}")
            if finding.remedy:
                click.echo(f"     -> {finding.remedy}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if not all(finding.ok for finding in findings):
        sys.exit(1)


@main.command()
@click.option("--project", "project_id", type=click.IntRange(1), help="Only this project.")
@_json
@click.pass_obj
def status(hub: Hub, project_id: int | None, as_json: bool) -> None:
    """Say how the projects stand: versions, the run in progress, what is missing, what went wrong."""
    projects = [existing_project(hub, project_id)] if project_id else known_projects(hub)
    found = [project_status(hub, project) for project in projects]
    lines = [line for one in found for line in standing(one)] or ["no project has been connected yet"]
    if not project_id and not as_json:
        lines += _left_over(hub)
    show(as_json, [one.to_json() for one in found], lines)


def _left_over(hub: Hub) -> list[str]:
    """Name what else the store holds, a line each; what cannot be read has been told by now."""
    with suppress(StoreError):
        return [f"also in the store, {name}: {what}" for name, what in left_over(hub).items()]
    return []


@main.command()
@_project
@_json
@click.pass_obj
def versions(hub: Hub, project_id: int, as_json: bool) -> None:
    """List a project's versions, newest first, with their states and verdicts."""
    project = existing_project(hub, project_id)
    pointers, damage = _pointers(hub, project)
    records = reversed(Versions(hub.store, project).all())
    found = [(record, state_of(record.version, record, pointers)) for record in records]
    lines = [f"{record.version:<4} {state:<9} {record.recipe:<8} {record.verdict}" for record, state in found]
    if damage:
        click.echo(f"which of them is champion is unknown: {damage}", err=True)
    show(as_json, [{**asdict(record), "state": state} for record, state in found], lines or ["no version yet"])


def _pointers(hub: Hub, project: ProjectKey) -> tuple[Pointers, str]:
    """Read a project's pointers; empty ones and what is wrong where they are damaged."""
    try:
        return ChampionPointer(hub.store, project).read(), ""
    except Damaged as error:
        return Pointers(), str(error)


@main.command()
@_project
@click.option("--force", is_flag=True, help="Train even if the same labels and settings have been trained before.")
@click.option("--wait/--no-wait", default=True, help="Follow the run to its end.")
@_json
@click.pass_obj
def retrain(hub: Hub, project_id: int, force: bool, wait: bool, as_json: bool) -> None:
    """Retrain now, whatever the policy says."""
    project = existing_project(hub, project_id)
    require_learning(hub, project)
    job = hub.queue(project).retrain("labelloop retrain", force=force)
    ended = follow(hub, project, job, quiet=as_json) if wait else "queued"
    result = queue.job_result(hub.redis, job)
    if wait and (record := follow_elsewhere(hub, project, quiet=as_json)) is not None:
        ended, result = ("failed", record.reason) if record.state == "failed" else (ended, record.verdict)
    stands = project_status(hub, project)
    show(
        as_json,
        {"job": job, "status": ended, "result": result, "project": stands.to_json()},
        [f"job {job}: {': '.join(filter(None, (ended, result)))}", *standing(stands)],
    )
    if ended == "failed":
        sys.exit(1)


@main.command()
@_project
@_json
@click.pass_obj
def cancel(hub: Hub, project_id: int, as_json: bool) -> None:
    """End the run that is open, here or elsewhere; other labels, or `retrain --force`, make another one."""
    project = existing_project(hub, project_id)
    runs = OpenRuns(hub.store, project)
    opened = runs.read()
    if opened is None:
        raise click.ClickException(f"no run of project {project_id} is open: there is nothing to cancel")
    runs.cancel(opened.key, "it was cancelled by `labelloop cancel`")
    told = f"run {opened.key} is to end: its worker sees it within seconds"
    if opened.elsewhere:
        hub.queue(project).resume()
        told = f"run {opened.key} is to end: a worker cancels its training"
    show(as_json, {"run": opened.key}, [told])


@main.command()
@_project
@click.option("--dry-run", is_flag=True, help="Predict, but import nothing.")
@_json
@click.pass_obj
def predict(hub: Hub, project_id: int, dry_run: bool, as_json: bool) -> None:
    """Pre-annotate every unlabeled task that has no prediction of the announced version."""
    project, _ = confirmed_project(hub, project_id)
    learn(hub, project)
    version = announced_version(hub, project)
    if version == NO_VERSION:
        raise click.ClickException(f"project {project_id} has no version yet: {project_status(hub, project).missing}")
    with Lease(hub, project) as lease, Bar(not as_json, "task") as bar:
        reporter = Reporter(hub, project, lease)

        def report(what: str, done: int, total: int) -> None:
            reporter(what, done, total)
            bar("", done, total)

        reporter.stage("prelabel")
        try:
            done = prelabel(hub, project, None, report, dry_run=dry_run)
        finally:
            reporter.close()
    by = serving(hub, project)
    version = by.version
    verb = "would be pre-annotated" if dry_run else "pre-annotated"
    lines = [
        f"{done.predicted} tasks {verb} with {version}, {done.left_out} left out",
        *(f"  for example: {reason}" for reason in done.reasons),
    ]
    if not dry_run and by.serves != "store":
        lines += _order(hub, project, version)
    show(as_json, {"version": version, "dry_run": dry_run, **asdict(done)}, lines)


def _order(hub: Hub, project: ProjectKey, version: str) -> list[str]:
    """Have Label Studio order tasks by the new predictions; a project that is not connected stays as it is."""
    try:
        site_of(hub, project.id).announce(version)
    except StudioError as error:
        return [str(error)]
    return []


@main.command()
@click.option("--endpoint", help="Its address; default: LABELLOOP_ENDPOINT.")
@click.option("--file", "file", type=_FILE, help="What to send: a picture, a sound, or a text (.txt).")
@click.option("--text", help="The text to send.")
@click.option("--uri", help="The address to send, for an endpoint that fetches by itself.")
@click.option("--request", help="Request format; default: LABELLOOP_REQUEST_FORMAT.")
@click.option("--response", help="Response format; default: LABELLOOP_RESPONSE_FORMAT.")
@click.option("--mapping", help="JMESPath expression; default: LABELLOOP_RESPONSE_MAPPING.")
@click.option("--classes", help="The model's classes, separated by commas; default: LABELLOOP_CLASSES.")
@click.option("--label-config", type=_FILE, help="Render for this label config; default: one that fits the answer.")
@click.option("--project", "project_id", type=click.IntRange(1), help="Ask and render as for this project.")
@click.pass_obj
def probe(hub: Hub, /, file: Path | None, text: str | None, uri: str | None, **options: Any) -> None:
    """Send one input to an endpoint; show the request, the answer, what was read, and what Label Studio would get."""
    from labelloop.cli.probe import Question, ask

    if sum(given is not None for given in (file, text, uri)) != 1:
        raise click.UsageError("give one of --file, --text and --uri")
    project_id, label_config = options.pop("project_id"), options.pop("label_config")
    given = {name: value for name, value in options.items() if value is not None}
    config = label_config.read_text() if label_config else None
    if project_id is not None:
        confirmed_project(hub, project_id)
        with closing(Studio.of(hub.settings)) as studio:
            config = studio.project(project_id).label_config
    lines, well = ask(
        hub, Question(file=file, text=text, uri=uri, options=given, label_config=config, project=project_id)
    )
    click.echo("\n".join(lines))
    if not well:
        sys.exit(1)


@main.command()
@_project
@click.option("--to", "version", required=True, help="The version to go back to, for example v7.")
@click.option("--force", is_flag=True, help="Take one that was rejected, too; its record says that it was forced.")
@_json
@click.pass_obj
def rollback(hub: Hub, project_id: int, version: str, force: bool, as_json: bool) -> None:
    """Make an earlier version champion again, pre-annotate with it and announce it."""
    project = existing_project(hub, project_id)
    record = Versions(hub.store, project).get(version)
    if not record.promoted and not force:
        raise click.ClickException(
            f"{version} was rejected ({record.verdict}); only versions that passed can serve, "
            "and those that --force lets pass"
        )
    require_learning(hub, project)
    if force:
        force_version(Versions(hub.store, project), version)
    job = hub.queue(project).deploy(version)
    ended = follow(hub, project, job, quiet=as_json)
    announced = ChampionPointer(hub.store, project).read().announced
    if announced == version or ended != "finished":
        told = f"rollback to {version}: {ended}"
    else:
        told = f"{version} is champion: {queue.job_result(hub.redis, job) or 'it is announced when the run is over'}"
    show(as_json, {"job": job, "status": ended, "version": version, "announced": announced}, [told])
    if ended != "finished":
        sys.exit(1)


@main.command()
@click.option("--project", "project_id", type=click.IntRange(1), help="Only this project.")
@_json
@click.pass_obj
def sweep(hub: Hub, project_id: int | None, as_json: bool) -> None:
    """Look now for what no webhook told, annotation by annotation."""
    done = sweep_projects(hub, [existing_project(hub, project_id)] if project_id else None, scan_now=True)
    show(as_json, done, [f"{name}: {what}" for name, what in done.items()] or ["no project is known yet"])
    if any(what.startswith("failed") for what in done.values()):
        sys.exit(1)


@main.command()
@click.option("--bundle", type=_BUNDLE, help="Serve this bundle only: a folder, or a model.tar.gz.")
@click.option("--host", help="Address to listen on; default: 127.0.0.1, in a cloud's container 0.0.0.0.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; default: the cloud's own variable, else 9091.")
@click.pass_obj
def serve(hub: Hub, bundle: Path | None, host: str | None, port: int | None) -> None:
    """Run the inference container: many projects' versions, or the one bundle a cloud has given it."""
    from labelloop.serve.server import ServeOptions
    from labelloop.serve.server import serve as run

    run(ServeOptions(bundle=bundle, host=host, port=port), hub.settings)


@main.command()
@click.pass_obj
def worker(hub: Hub) -> None:
    """Work on the queue: runs, pre-annotation, and the sweep's timer."""
    from labelloop.loop.worker import run_worker

    run_worker(hub)


@main.command()
@click.pass_obj
def web(hub: Hub) -> None:
    """Run the web process alone, as gunicorn does: what Label Studio talks to."""
    from labelloop.web.credentials import BasicAuth
    from labelloop.web.machine import serve_web, warn_of_doubts

    BasicAuth(hub.settings.basic_auth_user, hub.settings.basic_auth_pass)
    refuse_impossible(hub)
    warn_of_doubts(hub.settings)
    keep_private(hub.settings.directory)
    serve_web(hub.settings)


@main.command()
@click.option("--label-studio", type=_FILE, help="The label-studio program; default: the one on the PATH.")
@click.option("--images", type=_FOLDER, help="Take these pictures, a folder per class, instead of digits.")
@click.option("--test-images", type=_FOLDER, help="Measure on these, a folder per class; default: some are held out.")
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
def demo(hub: Hub, /, label_studio: Path | None, backbone: str | None, weights: str | None, **options: Any) -> None:
    """Start everything with a real Label Studio, and show the loop turn."""
    from labelloop.demo.run import DemoOptions, run_demo

    if options["report"] == STDOUT:
        options["report"] = None
    found = label_studio or shutil.which("label-studio")
    if not found:
        raise click.ClickException(
            "no label-studio program: name it with --label-studio, or use `make demo`, which installs one"
        )
    settings = replace(hub.settings, seed=options["seed"])
    if backbone or weights:
        settings = replace(settings, backbone=backbone or settings.backbone, weights=weights or settings.weights)
    elif settings.backbone == Settings.backbone:
        settings = replace(settings, backbone="test_resnet", weights="none", image_size=32)
    run_demo(DemoOptions(label_studio=Path(found), **options), settings, say=click.echo)


for command in (adopt, export, label_errors, manifest, move, report, search, stage, test_endpoint, train):
    main.add_command(command)
