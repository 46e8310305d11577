"""``labelloop labelbox``: whether Labelbox's service can work, and what to enter in Labelbox."""

import os
from collections.abc import Iterator
from contextlib import closing

import click

from labelloop.cli.doctor import check_redis, check_settings, check_workers, guarded, try_store
from labelloop.cli.terminal import json_option, show_findings
from labelloop.labelbox import diagnosis
from labelloop.labelbox.client import Labelbox
from labelloop.loop.hub import Hub
from labelloop.loop.menu import look_for_endpoints, menu_of
from labelloop.setting_values import labelbox_id
from labelloop.types import Finding
from labelloop.web.labelbox import PREFIX


@click.group()
def labelbox() -> None:
    """See whether what Labelbox's button asks for can be done."""


@labelbox.command()
@click.option("--model-run", "run", default="", help="Look at this model run (its id), and what its ontology can hold.")
@click.option("--url", default="", help="Address of the web process as Labelbox reaches it: https://host.")
@json_option
@click.pass_obj
def doctor(hub: Hub, run: str, url: str, as_json: bool) -> None:
    """Check what lies between Labelbox and a worker, and print the URL to enter. Exit code 1 if something is wrong."""
    if run and (wrong := labelbox_id(run)):
        raise click.BadParameter(f"{run[:80]!r} is not {wrong}", param_hint="--model-run")
    show_findings(_diagnose(hub, run, url or f"http://127.0.0.1:{hub.settings.port}"), as_json=as_json)


def _diagnose(hub: Hub, run: str, url: str) -> Iterator[Finding]:
    """Yield one finding after the other; never raises."""
    settings = hub.settings
    yield from check_settings(settings, os.environ, {})
    yield diagnosis.check_signatures()
    yield diagnosis.check_secret(settings)
    yield diagnosis.check_sdk()
    yield from guarded("API key", lambda: _asked(hub, run))
    yield from guarded("Redis", lambda: check_redis(hub))
    yield from guarded("workers", lambda: check_workers(hub))
    yield from guarded("store", lambda: try_store(hub))
    yield from guarded("Vertex AI", lambda: _live(hub))
    yield from guarded("menu", lambda: _menu(hub))
    base = diagnosis.base_url(url, PREFIX)
    yield from guarded("reached", lambda: diagnosis.check_reach(base, settings, len(menu_of(hub).entries)))
    yield diagnosis.check_public(base)


def _asked(hub: Hub, run: str) -> Iterator[Finding]:
    with closing(Labelbox.of(hub.settings)) as asked:
        yield diagnosis.check_key(asked)
        if run:
            yield from guarded("model run", lambda: diagnosis.check_model_run(asked, run))


def _live(hub: Hub) -> Iterator[Finding]:
    """Look for endpoints with a model, as the sweep does."""
    told = look_for_endpoints(hub)
    failed = told.startswith("failed: ")
    remedy = "Give the worker's account what the message names, or unset LABELLOOP_LABELBOX_VERTEX." if failed else ""
    if told:
        yield Finding("Vertex AI", ok=not failed, detail=told.removeprefix("failed: "), remedy=remedy)


def _menu(hub: Hub) -> Iterator[Finding]:
    """Say what can be chosen, with the number by which commands know it, and of what else why it cannot."""
    menu = menu_of(hub)
    told = ", ".join(f"{entry.key} = {entry.number}" for entry in menu.entries)
    detail = told or "it is empty: nothing can be trained or predicted"
    remedy = "" if menu.entries else "Change LABELLOOP_TRAINER, or name an endpoint in LABELLOOP_ALLOWED_ENDPOINTS."
    yield Finding("menu", ok=bool(menu.entries), detail=detail, remedy=remedy)
    for name, why in menu.left_out.items():
        yield Finding(f"not in the menu, {name}", ok=True, detail=why)
