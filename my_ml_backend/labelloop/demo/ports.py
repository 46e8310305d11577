"""The demo's machine: a real Label Studio and all of LabelLoop, on ports of their own, in a folder of its own."""

import os
import socket
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from labelloop.environment import environment_of
from labelloop.settings import Settings
from labelloop.supervise import require_free


@dataclass(frozen=True)
class Ports:
    """Where the demo's Label Studio, web process and inference server listen on 127.0.0.1."""

    label_studio: int
    web: int
    inference: int

    @classmethod
    def choose(cls, label_studio: int | None) -> Self:
        """Take the usual ports where they are free, others where they are not; ``label_studio`` only as it is."""
        if label_studio is not None:
            require_free("127.0.0.1", label_studio, "end what listens there, or name another port with --port")
        return cls(label_studio or free_port(8080), free_port(9090), free_port(9091))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Give the ports of a demo on this machine alone, by its settings."""
        found = [urlsplit(url).port or 0 for url in (settings.label_studio_url, settings.endpoint)]
        return cls(found[0], settings.port, found[1])

    def require(self) -> None:
        """Raise ServiceError unless all are free: Label Studio calls LabelLoop where it was, and pages are open."""
        for port in astuple(self):
            require_free("127.0.0.1", port, "end what listens there; a demo that was kept goes on at its own ports")


def demo_settings(settings: Settings, folder: Path, per_round: int, ports: Ports) -> Settings:
    """Take the settings of a person who wants to see the loop turn: short waits, few labels, ports that are free.

    The backbone, weights and recipes stay as given.
    """
    return replace(
        settings,
        label_studio_url=f"http://127.0.0.1:{ports.label_studio}",
        model_dir=str(folder / "labelloop"),
        store="",
        redis_url="embedded",
        host="127.0.0.1",
        port=ports.web,
        endpoint=f"http://127.0.0.1:{ports.inference}",
        retrain_after=per_round,
        quiet_seconds=1.0,
        head_retrain_after=per_round,
        head_quiet_seconds=1.0,
        max_wait_seconds=600.0,
        sweep_seconds=10.0,
        scan_seconds=30.0,
        # The demo itself labels the first tasks, as they lie there: to compare them would only take time.
        first_labels=False,
    )


def still_free(settings: Settings) -> Settings:
    """Give the settings with other ports where LabelLoop's have been taken while Label Studio started."""
    endpoint = urlsplit(settings.endpoint)
    if endpoint.hostname == "127.0.0.1" and endpoint.port:
        settings = replace(settings, endpoint=f"http://127.0.0.1:{free_port(endpoint.port)}")
    return replace(settings, port=free_port(settings.port))


def child_environment(settings: Settings) -> dict[str, str]:
    """Spell the settings out as the environment of child processes."""
    return {**os.environ, **environment_of(settings)}


def free_port(wanted: int) -> int:
    """Find a free port of this machine: the wanted one if it is."""
    for port in (wanted, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("this machine has no free port")
