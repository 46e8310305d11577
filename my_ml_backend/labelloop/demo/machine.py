"""The demo's machine: a real Label Studio and all of LabelLoop, on ports of their own, in a folder of its own."""

import os
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from labelloop.settings import Settings, environment_of


def demo_settings(settings: Settings, folder: Path, per_round: int) -> Settings:
    """Take the settings of a person who wants to see the loop turn: short waits, few labels, ports that are free.

    The backbone, weights and recipes stay as given.
    """
    return replace(
        settings,
        label_studio_url=f"http://127.0.0.1:{free_port(8080)}",
        model_dir=str(folder / "labelloop"),
        store="",
        redis_url="embedded",
        host="127.0.0.1",
        port=free_port(9090),
        endpoint=f"http://127.0.0.1:{free_port(9091)}",
        retrain_after=per_round,
        quiet_seconds=2.0,
        max_wait_seconds=600.0,
        sweep_seconds=10.0,
        scan_seconds=30.0,
    )


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
