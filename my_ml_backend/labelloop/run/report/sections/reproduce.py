"""How to make the same version again."""

from collections.abc import Mapping
from typing import Any

from labelloop.run.parameters import is_hidden
from labelloop.run.report.files import Files
from labelloop.run.report.numbers import duration, moment, size
from labelloop.run.report.section import Section
from labelloop.types import Json


def build(files: Files) -> Section | None:
    """Show command, settings, code, packages, machine, times, and the served files with their differences."""
    record, bundle = files.record, files.bundle
    if not record and not bundle:
        return None
    return Section(
        "reproduce",
        "How to reproduce",
        "The same manifest, settings, seed, packages and kind of machine give the same model.",
        {
            "command": record.get("command", ""),
            "hidden": any(is_hidden(str(value)) for value in (record.get("parameters") or {}).values()),
            "facts": [(name, str(value)) for name, value in _facts(files) if value not in (None, "", {})],
            "settings": sorted((name, str(value)) for name, value in training_settings(files).items()),
            "packages": sorted(record.get("packages", {}).items()),
            "seconds": _seconds({**record.get("seconds", {}), **_parts(files)}),
            "files": [
                {"name": name, "sha256": digest, "parity": _parity(bundle, name)}
                for name, digest in bundle.get("files", {}).items()
            ],
        },
    )


def training_settings(files: Files) -> Json:
    """Give the parameters that the run was asked for."""
    found: Json = files.record.get("parameters") or {}
    return {name: value for name, value in found.items() if value != ""}


def _facts(files: Files) -> list[tuple[str, Any]]:
    record, bundle = files.record, files.bundle
    machine = record.get("machine", {})
    picture = bundle.get("picture", {})
    peak = record.get("peak_memory_bytes")
    return [
        ("run", record.get("key")),
        ("begun", moment(str(record.get("created") or ""))),
        ("manifest", record.get("manifest") or files.data.get("manifest")),
        ("git commit", record.get("git")),
        ("network", bundle.get("backbone")),
        ("recipe", bundle.get("recipe")),
        ("pictures", f"{picture['width']} x {picture['height']} pixels" if picture else ""),
        ("mirror image at prediction", "yes" if bundle.get("flips") else ""),
        ("temperature", bundle.get("temperature")),
        ("device", record.get("device") or files.trained.get("device")),
        ("Python", machine.get("python")),
        ("machine", f"{machine['platform']}, {machine['cores']} cores" if machine else ""),
        ("peak memory", size(peak) if peak else ""),
    ]


def _parts(files: Files) -> dict[str, float]:
    """Give the seconds of the train stage's parts."""
    return {f"train: {name}": seconds for name, seconds in (files.trained.get("seconds") or {}).items()}


def _seconds(seconds: Mapping[str, float]) -> list[Json]:
    most = max(seconds.values(), default=1) or 1
    return [{"name": name, "text": duration(value), "heat": round(value / most, 3)} for name, value in seconds.items()]


def _parity(bundle: Json, name: str) -> str:
    value = bundle.get("parity", {}).get(name)
    return "" if value is None else f"{value:.1e}"
