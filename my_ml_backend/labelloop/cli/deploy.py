"""``labelloop deploy gcp``: web, and with it worker, Redis and bucket, on Cloud Run (deploy/gcp/README.md)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from labelloop.cloud.google.cloud_run import PASSWORD, Plan, plan_of
from labelloop.cloud.google.deploying import Deployment
from labelloop.cloud.google.gcloud import Gcloud
from labelloop.settings import Settings

_FOLDER = Path(__file__).resolve().parents[2]
"""The folder that holds this package: that of a checkout is what is deployed."""


def _refuse_key(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:  # noqa: ARG001
    if value is not None:
        raise click.UsageError(
            "every user of this machine can read a command line: give the key as the variable LABEL_STUDIO_API_KEY; "
            "it goes to Secret Manager"
        )


@click.group()
def deploy() -> None:
    """Put LabelLoop up in a cloud."""


@deploy.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=_FOLDER)
@click.option("--gcp-project-id", "project", envvar="GCP_PROJECT", required=True, help="Project; default: GCP_PROJECT.")
@click.option(
    "--gcp-region",
    "region",
    envvar="GCP_REGION",
    default="us-central1",
    show_default=True,
    help="Region; also GCP_REGION.",
)
@click.option("--label-studio-host", "studio", help="Address of Label Studio; default: LABEL_STUDIO_URL.")
@click.option("--label-studio-api-key", hidden=True, expose_value=False, callback=_refuse_key)
@click.option("--service", default="", help="Name of the service; default: that of the folder.")
@click.option("--worker", is_flag=True, help="Deploy a worker, too, with a Redis and a bucket where none is named.")
@click.option("--worker-image", default="", help="Image of the worker, which is not built then.")
@click.option(
    "--ingress",
    type=click.Choice(["all", "internal", "internal-and-cloud-load-balancing"]),
    default="all",
    show_default=True,
    help="From where the service may be called.",
)
@click.option("--network", default="default", show_default=True, help="Network in which Redis is.")
@click.option("--subnet", default="default", show_default=True, help="Its subnet of the region.")
@click.option("--dry-run", is_flag=True, help="Only show the commands of gcloud, secrets hidden.")
@click.pass_obj
def gcp(settings: Settings, /, folder: Path, studio: str | None, dry_run: bool, **choices: Any) -> None:  # noqa: ARG001
    """Deploy FOLDER (default: this one) to Cloud Run by this shell's settings; may be repeated."""
    given = {**os.environ, **({"LABEL_STUDIO_URL": studio} if studio else {})}
    plan = plan_of(given, folder, **choices)
    deployed = Settings.from_environment(plan.all_variables)  # what a service could not start with ends here
    address = Deployment(plan, Gcloud(plan.project, click.echo, dry=dry_run), click.echo).run()
    if not dry_run:
        for line in _what_next(plan, deployed, address):
            click.echo(line)


def _what_next(plan: Plan, deployed: Settings, address: str) -> Iterator[str]:
    """Say how the service is protected and connected, and what it lacks."""
    from labelloop.web.cloud_run import lacks_by_settings

    user = plan.variables["BASIC_AUTH_USER"]
    read = f"gcloud secrets versions access latest --secret {plan.secret(PASSWORD)} --project {plan.project}"
    yield f"{plan.service} answers at {address}"
    yield (
        "Anybody may call it, for Label Studio cannot send Google's identity tokens. LabelLoop asks for the user "
        f"{user} and a password, which `{read}` shows; webhooks carry a secret of their own."
    )
    yield (
        f"With both in BASIC_AUTH_USER and {PASSWORD}, `labelloop connect --project NUMBER --url {address}` connects a "
        "project."
    )
    for lack in lacks_by_settings(deployed):
        yield f"It lacks {lack.name}: {lack.detail}. {lack.remedy}"
    if not plan.networked:
        yield "It lacks Redis and a worker, so nothing is learned: --worker brings both."
