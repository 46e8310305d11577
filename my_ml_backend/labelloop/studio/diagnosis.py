"""Checks of what Label Studio knows of this backend: pure functions of what was read, each with its remedy."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from labelloop.data.labeling import FIRST, Subject
from labelloop.errors import LabelConfigError
from labelloop.sources.urls import shown
from labelloop.studio.api import ADDRESS_SWITCHES
from labelloop.studio.backends import (
    MLBackend,
    Webhook,
    differences,
    orphan_webhooks,
    own_webhooks,
    secret_of,
    wanted_webhook,
)
from labelloop.studio.client import UNCERTAINTY, ProjectInfo
from labelloop.studio.label_config import LabelConfig, parse_label_config, parse_trained
from labelloop.studio.mapping import known_labels
from labelloop.types import NO_VERSION, Finding
from labelloop.webhook_secrets import Carried, WebhookSecrets


def check_labels(label_config: str, classes: Sequence[str] | None, subject: Subject | None = FIRST) -> Finding:
    """Look whether predictions fit the label config; ``classes`` are the announced version's, None before the first.

    Without a ``subject``, for the endpoint has a model of its own, every control tag counts that it may answer for.
    """
    try:
        if subject is None:
            return _check_tags(label_config)
        config = parse_trained(label_config, subject)
        tag = config.tags[0]
        mapped = known_labels(tag, classes) if classes is not None else {}
    except LabelConfigError as error:
        return Finding(
            "labels",
            ok=False,
            detail=str(error),
            remedy="Change the label config as said (Settings > Labeling Interface).",
        )
    where = f"{tag.shown}{_instead(config)} has {len(tag.labels)} labels"
    if classes is None:
        return Finding("labels", ok=True, detail=f"{where}; there is no version yet")
    unknown = sorted({label.name for label in tag.labels} - set(mapped.values()))
    if unknown:
        detail = f"{where}, of which the announced version does not know {', '.join(unknown)}"
        return Finding(
            "labels",
            ok=False,
            detail=detail,
            remedy="Label some tasks with them and press Start Training, or run `labelloop retrain`.",
        )
    return Finding("labels", ok=True, detail=f"{where}; the announced version knows all of them")


def _instead(config: LabelConfig) -> str:
    """Name the control tags that could be learned in place of the one that is."""
    others = " or ".join(dict.fromkeys(tag.shown for tag in config.others))
    return f', which is learned ("learn" in extra_params chooses {others} instead),' if others else ""


def _check_tags(label_config: str) -> Finding:
    config = parse_label_config(label_config)
    tags = [tag.shown + (f" with {len(tag.labels)} labels" if tag.labels else "") for tag in config.tags]
    return Finding("labels", ok=True, detail="; ".join((f"predicts for {', '.join(tags)}", *config.warnings)))


def check_backend(backends: Sequence[MLBackend], own: MLBackend | None, connect: str) -> Finding:
    """Look whether this backend is registered, answers Label Studio, and is the one that is asked for predictions."""
    if own is None:
        listed = ", ".join(f"{one.title} at {shown(one.url)}" for one in backends) or "none"
        detail = f"this backend is not registered; registered: {listed}"
        return Finding("ML backend", ok=False, detail=detail, remedy=f"Run {connect}")
    where = f"ML backend {own.id} at {shown(own.url)}"
    if own.state != "Connected":
        detail = f"{where} is {own.state or 'in an unknown state'}: {own.error or 'Label Studio does not reach it'}"
        return Finding("ML backend", ok=False, detail=detail, remedy=_unreached(own))
    first = min(backends, key=lambda backend: backend.id)
    if first.id != own.id:
        detail = f"{where} is not the first; Label Studio asks {first.title} at {shown(first.url)} for predictions"
        return Finding("ML backend", ok=False, detail=detail, remedy="Remove the other ML backend in Settings > Model.")
    return Finding("ML backend", ok=True, detail=f"{where} is connected")


def check_title(own: MLBackend, announced: str, info: ProjectInfo) -> Finding:
    """Look whether sampling orders by the announced version: backend title and ``project.model_version`` name it."""
    named = f"title {own.title}, announced {announced}, the project orders by {info.model_version or 'nothing'}"
    ok = own.title == announced and announced in (NO_VERSION, info.model_version)
    remedy = "Run `labelloop sweep`, or `labelloop connect` again: tasks come in random order until they agree."
    return Finding("title", ok=ok, detail=named, remedy="" if ok else remedy)


OLDEST, TESTED = "1.12", "1.23.2"
"""The oldest Label Studio that LabelLoop works with, and the one it is developed with."""


def check_version(version: str, where: str) -> Finding:
    """Look whether LabelLoop is tested with a version of Label Studio (docs/label-studio-versions.md)."""
    remedy = too_old(version)
    if not remedy and version != TESTED:
        remedy = (
            f"LabelLoop is tested with {TESTED}, and with {OLDEST} in part: where something is odd, try that version."
        )
    return Finding("Label Studio", ok=True, detail=f"{version} at {where}", remedy=remedy)


def too_old(version: str) -> str:
    """Say what does not work with a Label Studio older than the oldest, and what to do; empty for any other."""
    if not _release(version) or _release(version) >= _release(OLDEST):
        return ""
    return (
        f"Upgrade Label Studio {version} to {OLDEST} or later: this one neither says whether it reaches an ML backend "
        "nor sends it Basic authentication, and does not order tasks by the version that its title names."
    )


def _release(version: str) -> tuple[int, ...]:
    """Read ``1.12.0.post0`` as 1, 12, 0, and what holds no number as nothing."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def check_host(own: MLBackend) -> Finding:
    """Look whether Label Studio takes webhooks to this host: not to a name without a dot (contract, "Connecting")."""
    host = urlsplit(own.url).hostname or ""
    ok = host == "localhost" or bool(set(host) & set(".:"))
    remedy = (
        f"Give {host} a name with a dot (a network alias such as web.labelloop.internal in a compose file), or use its "
        "IP address, and run `labelloop connect` with it: Label Studio takes no webhook to this one."
    )
    return Finding("host name", ok=ok, detail=host, remedy="" if ok else remedy)


def check_webhook(webhooks: Sequence[Webhook], own: MLBackend, secrets: WebhookSecrets, connect: str) -> Finding:
    """Look whether Label Studio tells this backend of annotations, in a way it accepts."""
    found = own_webhooks(webhooks, own.url)
    if not found:
        detail = "there is none, so annotations reach this backend by the sweep alone"
        return Finding("webhook", ok=False, detail=detail, remedy=f"Run {connect}. {ADDRESS_SWITCHES}")
    wrong = differences(found[0].spec, wanted_webhook(own.url, secrets.of(own.project), found[0].spec))
    carried = secrets.read(secret_of(found[0].spec))
    if len(found) > 1:
        wrong.append(f"there {len(found)} times")
    if wrong == ["secret header"] and carried and carried.project in (None, own.project):
        detail = f"webhook {found[0].id} carries {_older(carried)}, which is still taken"
        return Finding("webhook", ok=True, detail=detail, remedy=f"Run {connect}")
    if wrong:
        detail = f"webhook {found[0].id} is not as it should be: {', '.join(wrong)}"
        return Finding("webhook", ok=False, detail=detail, remedy=f"Run {connect}")
    return Finding("webhook", ok=True, detail=f"webhook {found[0].id} carries the secret header and the right actions")


def _older(carried: Carried) -> str:
    if carried.current:
        return "a secret that all projects had in common"
    return "a previous secret (LABELLOOP_WEBHOOK_SECRET_PREVIOUS or LABEL_STUDIO_API_KEY_PREVIOUS)"


def check_orphans(webhooks: Sequence[Webhook], backends: Sequence[MLBackend]) -> Finding:
    """Look for webhooks of ML backends that are no more: each delays every submit by up to a second."""
    orphans = orphan_webhooks(webhooks, backends)
    listed = ", ".join(f"webhook {orphan.id} to {shown(orphan.spec.url)}" for orphan in orphans)
    remedy = "Remove them in Settings > Webhooks; `labelloop connect` removes LabelLoop's own."
    return Finding("orphan webhooks", ok=not orphans, detail=listed or "none", remedy=remedy if orphans else "")


def check_sampling(info: ProjectInfo, connect: str) -> Finding:
    """Look whether the project serves the least certain tasks first."""
    ok = info.sampling == UNCERTAINTY
    return Finding("sampling", ok=ok, detail=info.sampling or "unknown", remedy="" if ok else f"Run {connect}")


def _unreached(own: MLBackend) -> str:
    if "401" in own.error:
        return "Run `labelloop connect` with the BASIC_AUTH_USER and BASIC_AUTH_PASS of the running backend."
    return f"Start it, and look whether Label Studio reaches {shown(own.url)} from where it runs. {ADDRESS_SWITCHES}"
