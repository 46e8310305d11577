"""Checks of what lies between Labelbox and this service: SDK, key, signatures, its address; each with its remedy."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from labelloop.errors import LabelConfigError
from labelloop.labelbox.client import Labelbox
from labelloop.labelbox.model_types import TYPES
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.signing import SHA1, VECTOR_SECRET, VECTORS, signature
from labelloop.settings import Settings
from labelloop.sources.urls import shown
from labelloop.types import Finding

if TYPE_CHECKING:
    import httpx

_SECONDS = 10.0
_CLOCK_SECONDS = 60.0
"""By how much clocks may differ: a minute ends no link and no lease."""


def check_sdk() -> Finding:
    """Look whether Labelbox's SDK is installed here, where the worker needs it."""
    try:
        return Finding("SDK", ok=True, detail=f"labelbox {version('labelbox')}")
    except PackageNotFoundError:
        remedy = "Install labelloop[labelbox] where the worker runs; nothing is missing if that is elsewhere."
        return Finding("SDK", ok=True, detail="the package labelbox is not installed here", remedy=remedy)


def check_key(labelbox: Labelbox) -> Finding:
    """Ask Labelbox whose key it is; raises LabelboxError where it does not say."""
    user = labelbox.ask("say whose key it is", lambda sdk: sdk.get_user())
    return Finding("API key", ok=True, detail=f"of {user.email or 'a user without an address'}, at {_api(labelbox)}")


def _api(labelbox: Labelbox) -> str:
    return shown(labelbox.settings.labelbox_endpoint)


def check_signatures() -> Finding:
    """Look whether this machine signs as Labelbox does: a restricted OpenSSL may know no SHA-1."""
    try:
        wrong = [header for body, header, value in VECTORS if signature(VECTOR_SECRET, body, header) != value]
    except ValueError as error:
        wrong = [str(error)]
    if not wrong:
        return Finding("signatures", ok=True, detail=f"{len(VECTORS)} known ones come out right")
    remedy = "Use a Python whose OpenSSL has SHA-1 and SHA-256: without them no request of Labelbox can be checked."
    return Finding("signatures", ok=False, detail=f"this machine signs otherwise: {wrong[0]}", remedy=remedy)


def check_secret(settings: Settings) -> Finding:
    """Say who is answered."""
    name = "secret"
    if settings.labelbox_secret:
        return Finding(name, ok=True, detail="whoever signs with LABELLOOP_LABELBOX_SECRET is answered, nobody else")
    if settings.labelbox_allow_unsigned:
        return Finding(
            name,
            ok=True,
            detail="LABELLOOP_LABELBOX_ALLOW_UNSIGNED is set and there is no secret: ANYBODY who reaches the service "
            "can start trainings",
            remedy="Set LABELLOOP_LABELBOX_SECRET for the web process, and enter the same in Labelbox.",
        )
    return Finding(
        name,
        ok=False,
        detail="LABELLOOP_LABELBOX_SECRET is not set here; a web process without one does not serve Labelbox",
        remedy="Think of a long one (`openssl rand -hex 32`), set it for the web process, and enter it in Labelbox. "
        "Where the web process has one, give it to this shell, too.",
    )


def check_model_run(labelbox: Labelbox, run: str) -> Iterator[Finding]:
    """Look at a model run, and which model types its ontology can hold; raises LabelboxError."""
    info = labelbox.model_run(run)
    config = f", config: {', '.join(sorted(map(str, info.config)))}" if info.config else ""
    yield Finding("model run", ok=True, detail=f"{info.name or run}, of model {info.model}{config}")
    normalized = labelbox.ontology(info.model)
    fits, others = {}, {}
    for one in TYPES:
        try:
            fits[one.name] = Ontology.of(normalized, one)
        except LabelConfigError as error:
            others[one.name] = str(error)
    if not fits:
        remedy = "Give the model's ontology a tool or a question of the kind that you want to train."
        yield Finding("ontology", ok=False, detail=next(iter(others.values())), remedy=remedy)
        return
    told = [f"{name} ({found.asked}: {len(found.classes)} classes)" for name, found in fits.items()]
    beside = f"; not {', '.join(others)}" if others else ""
    yield Finding("ontology", ok=True, detail=f"{normalized.get('name')!r} can be trained as {'; '.join(told)}{beside}")


def base_url(url: str, prefix: str) -> str:
    """Make of an address of the web process what is entered in Labelbox: the base, without ``/models``.

    The routes are below ``prefix``. What has a path of its own is taken as it is, for a proxy may lead from there.
    """
    base = url.rstrip("/")
    for route in ("/models", "/model_run"):
        base = base.removesuffix(route)
    return base if urlsplit(base).path else base + prefix


def check_reach(base: str, settings: Settings, entries: int) -> Iterator[Finding]:
    """Ask the running service over the wire, signed and unsigned; ``entries`` are those of the menu made here."""
    # Imported here: nobody else needs it.
    import httpx

    name, url = "reached", f"{base}/models"
    signed = {SHA1: signature(settings.labelbox_secret, b"")} if settings.labelbox_secret else {}
    try:
        begun = time.monotonic()
        answer = httpx.get(url, headers=signed, timeout=_SECONDS)
        took = time.monotonic() - begun
        bare = httpx.get(url, timeout=_SECONDS).status_code if signed else 0
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        detail = f"{shown(url)} cannot be reached from here: {str(error) or type(error).__name__}"
        remedy = "Start `labelloop web` (or `labelloop start`), and give its address as Labelbox reaches it by --url."
        yield Finding(name, ok=False, detail=detail, remedy=remedy)
        return
    wrong, remedy = _wrong(answer, bare, base, settings)
    if wrong:
        yield Finding(name, ok=False, detail=f"{shown(url)} {wrong}", remedy=remedy)
        return
    found = len(answer.json())
    detail = f"{shown(url)} answers in {1000 * took:.0f} ms, with {found} entries"
    remedy = "" if found == entries else f"With the settings of this shell it would have {entries}: give both the same."
    yield Finding(name, ok=True, detail=detail, remedy=remedy)
    yield from _clock(answer.headers.get("Date", ""))


def _wrong(answer: "httpx.Response", bare: int, base: str, settings: Settings) -> tuple[str, str]:
    """Say what is wrong with an answer to the signed request, and what to do; ``bare``: the unsigned one's status."""
    status = answer.status_code
    if status == 401:
        what = "refuses our signature" if settings.labelbox_secret else "has a secret, and this shell has none"
        return what, "Give this shell and the web process the same LABELLOOP_LABELBOX_SECRET."
    if status == 404:
        return "is not there", (
            f"Set LABELLOOP_LABELBOX_SECRET for the web process, and see that {shown(base)} leads to it with "
            "nothing taken away from its path (LABELLOOP_LABELBOX_AT_ROOT serves it without /labelbox, too)."
        )
    if status in range(300, 400):
        target = shown(answer.headers.get("Location", "elsewhere"))
        return f"redirects to {target}", "Enter the address that it leads to: a signed request is not sent on."
    try:
        fine = status == 200 and isinstance(answer.json(), dict)
    except ValueError:
        fine = False
    if not fine:
        return f"answers {status}, and no menu", "See what listens there, and the log of `labelloop web`."
    if bare == 200:
        return "answers unsigned requests, too", "Give the web process the LABELLOOP_LABELBOX_SECRET of this shell."
    return "", ""


def _clock(date: str) -> Iterator[Finding]:
    try:
        behind = time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return
    ok = abs(behind) < _CLOCK_SECONDS
    remedy = "" if ok else "Set both clocks by NTP: links of clouds and their tokens hold for minutes only."
    yield Finding("clock", ok=ok, detail=f"differs by {abs(behind):.0f} s from that of the web process", remedy=remedy)


def check_public(base: str) -> Finding:
    """Say which URL to enter in Labelbox, and whether Labelbox could reach it at all."""
    parts = urlsplit(base)
    remedy = ""
    if _is_private(parts.hostname or ""):
        remedy = "Labelbox calls from the internet: give the public address of the web process by --url."
    elif parts.scheme != "https":
        remedy = "Use https: a request that is heard on its way can be sent again by whoever heard it."
    return Finding("URL to enter in Labelbox", ok=True, detail=shown(base), remedy=remedy)


def _is_private(host: str) -> bool:
    """Whether a host is known to be out of the internet's reach by its name alone."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
