"""Messages out, to where ``LABELLOOP_NOTIFY_URL`` says: what is new is asked for by all who look, and sent by a job.

Whoever has held a project looks, and each sweep does. Only the job that has sent a message notes that it is told, in
the store: what is lost on the way, Redis and all, is asked for again at the next look.
"""

import json
import logging
import time
from contextlib import closing, suppress
from dataclasses import asdict, replace

import httpcore

from labelloop.errors import AddressRefused, CloudAway, CloudError, LabelLoopError
from labelloop.loop.conclusion import shortened
from labelloop.loop.hub import Hub
from labelloop.loop.news import News, Told
from labelloop.loop.project_registry import site_of
from labelloop.loop.queue import AGAIN
from labelloop.models.headline import headline_told
from labelloop.settings import Settings
from labelloop.sources.egress import https_proxy, named_bundle, trusted
from labelloop.sources.guard import PublicOnly
from labelloop.sources.transport import TRANSIENT, Connect, Connections, open_socket
from labelloop.types import Json, ProjectKey

_log = logging.getLogger(__name__)

_SECONDS = 10.0
"""For a whole exchange, TLS and all."""

_PLACE = "the address in LABELLOOP_NOTIFY_URL"
"""What stands for it in words: a Slack webhook's address is a secret."""


def tell_news(hub: Hub, project: ProjectKey) -> None:
    """Ask that what is new of a project is told, where a setting says to whom; what goes wrong is logged, and no more.

    May be called by anybody at any time: what was asked for already is not asked for twice.
    """
    if not hub.settings.notify_url:
        return
    try:
        told = Told(hub, project)
        news = News(hub, project, told.read())
        for message in news.messages():
            fit = replace(message, reason=shortened(hub.settings, message.reason))
            hub.queue(project).notify(asdict(fit))
        if news.settled:
            told.note(news.settled)
    except LabelLoopError as error:
        _log.warning("project %s: what is new is told later: %s", project, error)
    except Exception:  # noqa: BLE001 - border: a message takes nothing from the loop
        _log.exception("project %s: what is new is not told now", project)


def send(hub: Hub, project: ProjectKey, message: Json, tried: int) -> str:
    """Send one message, which was tried so many times, note that it is told, and say what came of it.

    Where another try may help, that is planned, and CloudAway raised; after the last one it counts as told, whatever
    comes. Why it could not be sent is a note for ``status``.
    """
    told, state = Told(hub, project), hub.state(project)
    if message["id"] in told.read():
        return "it was told before"
    if not hub.settings.notify_url:
        return "LABELLOOP_NOTIFY_URL is not set any more"
    failure = ""
    try:
        post(hub.settings, _in_words(hub, project, message))
    except LabelLoopError as error:
        again = isinstance(error, CloudAway) and tried < len(AGAIN)
        ends = "it is tried again" if again else "it is not tried again"
        failure = f"{message['event']} {message['version']} could not be told, {ends}: {error}"
        _log.warning("project %s: %s", project, failure)
        state.note("notify", failure)
        if again:
            hub.queue(project).notify_again(message, tried + 1)
            raise
    told.note([message["id"]])
    state.note("notify", failure)
    return failure or f"{message['event']} is told"


def post(settings: Settings, message: Json) -> None:
    """Post a message in the form that the settings name; raises CloudError, and CloudAway where a retry may help.

    A redirect is not followed: the setting alone says to whom a message goes.
    """
    content = {"text": _escaped(message["text"])} if settings.notify_form == "slack" else message
    status = _exchange(settings, json.dumps(content, allow_nan=False).encode())
    if not 200 <= status < 300:
        kind = CloudAway if status in TRANSIENT else CloudError
        raise kind(f"{_PLACE} answered {status}{'; no redirect is followed' if 300 <= status < 400 else ''}")


def check_place(settings: Settings) -> str:
    """Connect to where messages go and send nothing; gives its host. Raises CloudError."""
    url, host, port, proxy = _parts(settings)
    try:
        if not proxy:
            _connect(settings, proxy)(host, port, _SECONDS).close()
    except AddressRefused:
        raise _refused() from None
    except OSError as error:
        raise CloudAway(f"{host}:{port}, {_PLACE}, cannot be reached ({error})") from None
    return f"{url.scheme.decode()}://{host}:{port}"


def _exchange(settings: Settings, body: bytes) -> int:
    """Send a body and give the answer's status; what else the answer says is not read."""
    url, host, port, proxy = _parts(settings)
    headers = [
        ("Host", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("User-Agent", "labelloop"),
    ]
    request = httpcore.Request("POST", url, headers=headers, content=body)
    trust = trusted(named_bundle() if url.scheme == b"https" else "")
    made = Connections(1, trust, proxy=proxy, connect=_connect(settings, proxy))
    try:
        with closing(made) as connections, connections.exchange(request, time.monotonic() + _SECONDS) as response:
            return int(response.status)
    except AddressRefused:
        raise _refused() from None
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        # Its own words may repeat what was sent, and where to.
        raise CloudAway(f"{_PLACE} could not be reached, or broke off ({type(error).__name__})") from None


def _parts(settings: Settings) -> tuple[httpcore.URL, str, int, str]:
    """Take the address apart: whole, its host, its port, and the proxy to it, empty for none."""
    url = httpcore.URL(settings.notify_url)
    encrypted = url.scheme == b"https"
    host, port = url.host.decode("ascii").strip("[]"), url.port or (443 if encrypted else 80)
    return url, host, port, https_proxy(host, port) if encrypted else ""


def _connect(settings: Settings, proxy: str) -> Connect:
    # A proxy that the environment names resolves names itself, and may be at a private address.
    return open_socket if settings.allow_private_addresses or proxy else PublicOnly(None)


def _refused() -> CloudError:
    return CloudError(f"{_PLACE} is a private one: set LABELLOOP_ALLOW_PRIVATE_ADDRESSES=true if messages may go there")


def _escaped(text: str) -> str:
    """Write a text so that Slack shows it as it stands: its commands and links begin with ``<``."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _in_words(hub: Hub, project: ProjectKey, message: Json) -> Json:
    """Add the project's title, where Label Studio tells it now, and the sentences that people read."""
    title = message["type"]
    if not project.model_run:
        with suppress(LabelLoopError):
            title = shortened(hub.settings, site_of(hub, project.id).overview().title)
    named = f"{'model run' if project.model_run else 'project'} {message['project']}{f' ({title})' if title else ''}"
    what = " ".join(filter(None, (message["event"].replace("_", " "), message["version"])))
    figure = headline_told({"main": message["figure"]}) if message["figure"] else ""
    said = (f"LabelLoop, {named}: {what}", message["reason"], figure)
    text = ". ".join(one.rstrip(".") for one in said if one) + "."
    return {**message, "title": "" if project.model_run else title, "text": text}
