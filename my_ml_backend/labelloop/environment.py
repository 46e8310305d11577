"""What a process has of its environment beside the settings: names that are none, and what it hands on."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields

from labelloop import setting_values as values
from labelloop.settings import Settings, source

_log = logging.getLogger(__name__)

HANDED_ON = ("LABELLOOP_PROJECT", "LABELLOOP_RUN_KEY")
"""What LabelLoop tells the programs that it runs as trainers and deployers; they may run LabelLoop in turn."""

_OTHERS = (*HANDED_ON, "LABELLOOP_TEST_", "LABELLOOP_REQUIRE_TOOLS")
"""Beginnings of variables that are no settings and no mistakes: the last two are read by the tests of LabelLoop."""

_COUNTED = "PROMETHEUS_MULTIPROC_DIR"
"""Where processes of LabelLoop count together: nobody else's program is to count among them."""

_SHARED = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS")
"""Settings without our prefix whose misspellings can hardly be other programs' variables."""


def environment_of(settings: Settings) -> dict[str, str]:
    """Spell settings out as the environment variables that ``from_environment`` reads."""
    given = {entry.metadata["name"]: getattr(settings, entry.name) for entry in fields(settings)}
    return {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in given.items()}


def shared_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give an environment as somebody else's program may have it: without what the settings hold of secrets."""
    known = {
        name: entry.metadata["secret"]
        for entry in fields(Settings)
        for name in (entry.metadata["name"], *entry.metadata["fallbacks"])
    }
    return {
        name: value
        for name, value in environment.items()
        if name != _COUNTED and (name not in known or not (known[name] or values.names_user(value)))
    }


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Find variables that look like settings and are none: each with what is to be said of it.

    They are no faults: a variable of a newer version must not keep an older one from starting.
    """
    return dict(_unknown(environment))


def warn_of_unknown(environment: Mapping[str, str]) -> None:
    """Log which variables look like settings and are none, and which are read in the place of others, a line each."""
    for name, read in read_instead(environment):
        _log.info("%s is not set: %s is read in its place", name, read)
    for sentence in unknown_variables(environment).values():
        _log.warning("%s", sentence)


def read_instead(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the settings that are read from another variable than their own, each with that one."""
    for entry in fields(Settings):
        name, read = entry.metadata["name"], source(entry.metadata, environment)
        if read != name:
            yield name, read


def _unknown(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = [entry.metadata["name"] for entry in fields(Settings)]
    for name in sorted(environment):
        if name in known or name.startswith(_OTHERS):
            continue
        # Some names begin with LABELLOOP_ and some with LABELBOX_, which is soon mistaken.
        if name.removeprefix("LABELLOOP_") in known:
            meant = name.removeprefix("LABELLOOP_")
        elif name.startswith("LABELBOX_") and f"LABELLOOP_{name}" in known:
            meant = f"LABELLOOP_{name}"
        elif name.startswith("LABELLOOP_"):
            meant = values.near(name, known, 0.8)
        else:
            meant = values.near(name, [one for one in _SHARED if not environment.get(one)], 0.85)
            if not meant:
                continue
        yield name, f"{name} is not a setting" + (f"; did you mean {meant}?" if meant else " of this version")
