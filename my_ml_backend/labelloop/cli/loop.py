"""What one asks of the loop for a project: connect, doctor, status, sweep, retrain, cancel, drift, predict."""

import json
import os
import sys
from contextlib import closing, suppress
from dataclasses import asdict

import click

from labelloop.cli.doctor import diagnose
from labelloop.cli.projects import AnyProject, StudioProject, any_project_option, project_option
from labelloop.cli.terminal import Bar, follow, follow_elsewhere, json_option, show, show_findings
from labelloop.deployers.opening import has_batch
from labelloop.errors import LabelConfigError, QueueError, StoreError, StudioError
from labelloop.loop import project_registry, queue
from labelloop.loop.batch import route
from labelloop.loop.drift import last_look, waiting_for_a_look
from labelloop.loop.explanation import Explanation, explain
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.model_runs import ask_for_run
from labelloop.loop.model_runs import sweep as sweep_model_runs
from labelloop.loop.prelabel import prelabel
from labelloop.loop.process import hub_of, named_project
from labelloop.loop.project_endpoint import (
    hear,
    learn,
    learn_unknown,
    learns,
    needless_bootstrap,
    open_for,
    project_endpoint,
    share_extra_params,
)
from labelloop.loop.project_labels import labeling_of
from labelloop.loop.project_registry import confirmed_project, existing_project, known_projects, site_of
from labelloop.loop.retrain_policy import duration
from labelloop.loop.serving import announced_version, serving
from labelloop.loop.standing import standing
from labelloop.loop.status import all_statuses, left_over, project_status
from labelloop.loop.sweep import sweep as sweep_projects
from labelloop.loop.webhooks import web_agrees
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect as connect_project
from labelloop.types import FIRST_LABELS, NO_VERSION, ProjectKey
from labelloop.watch.records import Looks


@click.command()
@project_option
@click.option("--url", required=True, help="Address of this backend as Label Studio reaches it: http://host:9090.")
@click.option("--extra-params", help="What this project wants, as JSON: '{\"threshold\": 0.5}'; default: as it was.")
@json_option
@click.pass_obj
def connect(hub: Hub, project_id: int, url: str, extra_params: str | None, as_json: bool) -> None:
    """Register this backend with a project, or mend its registration: webhook, secret header, sampling."""
    project, _ = confirmed_project(hub, project_id)
    wanted = None
    if extra_params is None:
        learn_unknown(hub, project)
    else:
        named = open_for(hub, extra_params)
        if named.serves != "alone" and (subject := named.options.subject).tag:
            # A name that is not there is refused before anybody hears of it.
            site_of(hub, project_id).labeling(subject)
        wanted = json.loads(extra_params)
        hear(hub, project, wanted)
        share_extra_params(hub, project)
    version = announced_version(hub, project)
    with closing(Studio.of(hub.settings)) as studio:
        done = connect_project(studio, project_id, url, hub.settings, version, wanted)
    with suppress(QueueError):
        if web_agrees(hub) is False:
            done.append(
                "The web process makes webhooks' secrets of another key than this shell, so this one is refused there: "
                "give both the same LABELLOOP_WEBHOOK_SECRET or LABEL_STUDIO_API_KEY, and connect again."
            )
    if reason := _unlearned(hub, project):
        done.append(f"Nothing is learned here yet. {reason}")
    if needless := needless_bootstrap(project_endpoint(hub, project)):
        done.append(f"A bootstrap endpoint is named, and {needless}.")
    project_registry.remember_project(hub, project, url)
    show(as_json, {"project": project_id, "done": done}, done)


def _unlearned(hub: Hub, project: ProjectKey) -> str:
    """Say why nothing can be learned of the label config; empty where something can, or nothing is to be."""
    try:
        if learns(hub, project):
            labeling_of(hub, project)
    except LabelConfigError as error:
        return str(error)
    return ""


@click.command()
@click.option("--project", "project_id", type=StudioProject(), help="Look at this project too.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, project_id: int | None, as_json: bool) -> None:
    """Check everything the loop needs; each finding comes with its remedy. Exit code 1 when something is wrong."""
    show_findings(diagnose(ctx.obj, project_id, os.environ, ctx.meta.get("labelloop.faults", {})), as_json=as_json)


@click.command()
@click.option("--project", "project_id", type=AnyProject(), help="Only this project, or RUN/TYPE of a model run.")
@json_option
@click.pass_obj
def status(hub: Hub, project_id: int | None, as_json: bool) -> None:
    """Say how the projects stand: versions, the run in progress, what is missing, what went wrong."""
    known = [project_status(hub, existing_project(hub, project_id))] if project_id else []
    found = known or all_statuses(hub, known_projects(hub))
    lines = [line for one in found for line in standing(one)] or ["no project has been connected yet"]
    if not project_id and not as_json:
        lines += _left_over(hub)
    show(as_json, [one.to_json() for one in found], lines)


def _left_over(hub: Hub) -> list[str]:
    """Name what else the store holds, a line each; what cannot be read has been told by now."""
    with suppress(StoreError):
        return [f"also in the store, {name}: {what}" for name, what in left_over(hub).items()]
    return []


@click.command()
@click.option("--project", "project_id", type=StudioProject(), help="Only this project.")
@click.option("--explain", "explains", is_flag=True, help="Say what the next sweep will find, and change nothing.")
@json_option
@click.pass_obj
def sweep(hub: Hub, project_id: int | None, explains: bool, as_json: bool) -> None:
    """Look now for what no webhook told, annotation by annotation."""
    if explains:
        if not project_id:
            raise click.UsageError("--explain looks at one project: name it by --project")
        found = explain(hub, existing_project(hub, project_id))
        show(as_json, asdict(found), _explained(project_id, found))
        return
    done = sweep_projects(hub, [existing_project(hub, project_id)] if project_id else None, scan_now=True)
    if not project_id:
        done |= sweep_model_runs(hub, hub_of)
    show(as_json, done, [f"{name}: {what}" for name, what in done.items()] or ["no project is known yet"])
    if any(what.startswith("failed") for what in done.values()):
        sys.exit(1)


def _explained(project: int, found: Explanation) -> list[str]:
    """Say what a sweep will find, a line for each thing worth knowing."""
    ago = "never, as far as Redis knows" if found.swept is None else f"{duration(found.at - found.swept)} ago"
    told = [f"project {project}: swept {ago}"]
    counted = (
        f"{name} {found.then[name] if found.then[name] >= 0 else 'unknown'} then, {now} now"
        for name, now in found.now.items()
    )
    told.append(f"  counters: {'; '.join(counted)}")
    if not found.since:
        told.append("  what changed cannot be asked for: nobody knows since when")
    else:
        against = f"manifest {found.manifest[:12]}" if found.manifest else "nothing, for nothing has been learned yet"
        told.append(f"  compared: {found.compared} tasks that changed since {found.since}, with {against}")
    by = ", ".join(f"{count} {why}" for why, count in sorted(found.changed.items()))
    told.append(f"  changed: {by or 'none'}; {found.noted} labels are noted now, {found.expected} after the sweep")
    told += [f"    task {task}: {why}" for task, why in found.first.items()]
    if len(found.first) < (count := sum(found.changed.values())):
        told.append(f"    and {count - len(found.first)} more")
    if not found.adds_up:
        told.append("  counters tell of something that was not found among these")
    if found.look_at > found.at:
        told.append(f"  looks are dear here: the next one is made in {duration(found.look_at - found.at)}")
    soon = f"in {duration(found.scan_at - found.at)}" if found.scan_at > found.at else "by the next sweep"
    told.append(f"  everything is scanned {soon}: {found.scan_why}")
    told.append(f"  next: {found.next}")
    return told


@click.command()
@any_project_option
@click.option("--force", is_flag=True, help="Train even if the same labels and settings have been trained before.")
@click.option("--wait/--no-wait", default=True, help="Follow the run to its end.")
@json_option
@click.pass_obj
def retrain(hub: Hub, project_id: int, force: bool, wait: bool, as_json: bool) -> None:
    """Retrain now, whatever the policy says."""
    project = existing_project(hub, project_id)
    job = ask_for_run(hub, project, "labelloop retrain", force=force)
    ended = follow(hub, project, job, quiet=as_json) if wait else "queued"
    result = queue.job_result(hub.redis, job)
    if wait and (record := follow_elsewhere(hub, project, quiet=as_json)) is not None:
        ended, result = ("failed", record.reason) if record.state == "failed" else (ended, record.verdict)
    stands = project_status(hub, project)
    failed = ended == "failed" or (wait and (stands.job or {}).get("state") == "failed")
    show(
        as_json,
        {"job": job, "status": ended, "result": result, "project": stands.to_json()},
        [f"job {job}: {': '.join(filter(None, (ended, result)))}", *standing(stands)],
    )
    if failed:
        sys.exit(1)


@click.command()
@any_project_option
@json_option
@click.pass_obj
def cancel(hub: Hub, project_id: int, as_json: bool) -> None:
    """Cancel the open run, or the challenger if no run is open. New labels or `retrain --force` start another."""
    project = existing_project(hub, project_id)
    runs = hub.open_runs(project)
    opened = runs.read()
    if opened is None:
        runs = hub.open_runs(project, challenger=True)
        opened = runs.read()
    if opened is None:
        raise click.ClickException(f"no run of project {named_project(project)} is open: there is nothing to cancel")
    runs.cancel(opened.key, "it was cancelled by `labelloop cancel`")
    told = f"run {opened.key} is to end: its worker sees it within seconds"
    if opened.elsewhere:
        hub.queue(project).resume()
        told = f"run {opened.key} is to end: a worker cancels its training"
    show(as_json, {"run": opened.key}, [told])


@click.command()
@project_option
@json_option
@click.pass_obj
def drift(hub: Hub, project_id: int, as_json: bool) -> None:
    """Show whether what the announced version predicts has become other than what it predicted at first."""
    project = existing_project(hub, project_id)
    found = last_look(hub, project)
    show(as_json, asdict(found), _drift(hub, project, found))


def _drift(hub: Hub, project: ProjectKey, found: Looks) -> list[str]:
    """Say what the last look found, and what it is made of."""
    judged = found.judgement
    if judged is None:
        return [f"project {project.id}: drift has not been judged yet: {waiting_for_a_look(hub, project)}"]
    told = [f"project {project.id}: {judged}"]
    told.append(
        f"  scores: KS {judged.ks:.3f}, p {judged.ks_p:.2g}, PSI {judged.psi:.3f}, in class {judged.most_changed}"
    )
    if judged.mmd is None:
        told.append("  pictures: none, or too few that could be described; the scores alone are judged")
    else:
        told.append(f"  pictures: MMD {judged.mmd:.4g}, p {judged.mmd_p:.2g}")
    if judged.features is not None:
        told.append(f"  what the network sees in them: MMD {judged.features:.4g}, p {judged.features_p:.2g}")
    if judged.tasks:
        told.append(f"  most typical tasks: {', '.join(map(str, judged.tasks))}")
    return told + ([f"  they are shown at {found.tab}"] if found.tab and judged.drifts else [])


@click.command()
@project_option
@click.option("--dry-run", is_flag=True, help="Predict, but import nothing.")
@click.option("--batch/--no-batch", default=None, help="By a batch job, or not; else LABELLOOP_BATCH_FROM decides.")
@json_option
@click.pass_obj
def predict(hub: Hub, project_id: int, dry_run: bool, batch: bool | None, as_json: bool) -> None:
    """Pre-annotate every unlabeled task that has no prediction of the announced version."""
    if dry_run and batch:
        raise click.UsageError("--dry-run asks the endpoint: a batch job would be billed for nothing")
    project, _ = confirmed_project(hub, project_id)
    learn(hub, project)
    version = announced_version(hub, project)
    if version in (NO_VERSION, FIRST_LABELS):
        raise click.ClickException(f"project {project_id} has no version yet: {project_status(hub, project).missing}")
    if not dry_run and (told := _route(hub, project, batch)):
        click.echo(told, err=as_json)
    with Lease(hub, project) as lease, Bar(not as_json, "task") as bar:
        reporter = ProgressReporter(hub, project, lease)

        def report(what: str, done: int, total: int) -> None:
            reporter(what, done, total)
            bar("", done, total)

        reporter.stage("prelabel")
        try:
            done = prelabel(hub, project, None, report, dry_run=dry_run, batch=batch)
        finally:
            reporter.close()
    if done.job:
        # Without a worker it is this command that takes the answers in, when it is given again.
        hub.queue(project).prelabel(hub.settings.poll_seconds)
        show(as_json, {"version": version, "dry_run": dry_run, **asdict(done)}, [done.job])
        return
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


def _route(hub: Hub, project: ProjectKey, batch: bool | None) -> str:
    """Say before anything begins whether a batch job predicts; empty where there could be none."""
    by = serving(hub, project)
    if batch is None and not has_batch(by.options.deployer):
        return ""
    total = site_of(hub, project.id).count_waiting(by.version)
    return route(hub, project, by, by.version, total, batch).told(by.version, total)


def _order(hub: Hub, project: ProjectKey, version: str) -> list[str]:
    """Have Label Studio order tasks by the new predictions; a project that is not connected stays as it is."""
    try:
        site_of(hub, project.id).announce(version)
    except StudioError as error:
        return [str(error)]
    return []
