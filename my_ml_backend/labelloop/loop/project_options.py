"""What one project wants: which endpoints, what they speak, and how their answers become predictions.

The settings say so for all projects, the ``extra_params`` of a project's ML backend for that one (docs/endpoints.md).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from labelloop.data.labeling import FIRST, Subject
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import OptionsError, SettingsError
from labelloop.setting_values import Check, deployer_address, is_header, trainer_address, whole_addresses
from labelloop.settings import Settings
from labelloop.trainers.opening import open_trainer
from labelloop.types import UNCERTAINTIES, Json, Rendering, Uncertainty

_REMEMBERED = 8

_Reader = Callable[[object, str], Any]
"""Reads a value; the text names it in errors."""


@dataclass(frozen=True, slots=True)
class Options:
    """An endpoint, how its answers are shown, what trains its versions, and what brings them there (empty: nothing).

    ``bootstrap`` is the endpoint that predicts before the first version, and where this one is down; what is said of it
    is ``alone``: it is asked for a model of its own, whatever it could serve. ``subject`` is what is learned.
    """

    endpoint: EndpointSpec
    rendering: Rendering
    trainer: str = "local"
    deployer: str = ""
    bootstrap: "Options | None" = None
    alone: bool = False
    subject: Subject = FIRST


def options_of(settings: Settings, extra_params: object = None, typed: Json | None = None) -> Options:
    """Put a project's ``extra_params`` (a JSON object, its text, or nothing) on top of the settings.

    ``typed`` is what a person says on the command line with the same keys: it goes before ``extra_params``.
    What the settings say of the endpoint, its headers above all, is for that endpoint: a project that names another one
    begins with nothing. Raises OptionsError naming the key that is wrong or an endpoint that is not allowed, and
    SettingsError for impossible settings.
    """
    given = _read(extra_params) | _read(typed)
    usual = _usual(settings)
    if not given:
        return usual
    endpoint = usual.endpoint
    address = given.pop("endpoint", endpoint.address)
    if address != endpoint.address:
        _require_allowed(address, settings.allowed_endpoints)
        endpoint = EndpointSpec(address, timeout=settings.endpoint_timeout, base=settings.vertex_base_url)
    # What brings versions to the endpoint of the settings has nothing to write to another one.
    deployer = usual.deployer if endpoint is usual.endpoint else ""
    trainer = _named("trainer", given, usual.trainer, settings.allowed_trainers, trainer_address)
    deployer = _named("deployer", given, deployer, settings.allowed_deployers, deployer_address)
    said = given.pop("bootstrap", {})
    subject = _subject(settings, trainer, given.pop("learn", ""))
    rendering = _shown(usual.rendering, given)
    bootstrap = _bootstrap(settings, said, rendering)
    return Options(replace(endpoint, **given), rendering, trainer, deployer, bootstrap, subject=subject)


def _subject(settings: Settings, trainer: str, tag: str = "") -> Subject:
    """Say what is learned, by whose trainer; one that cannot be opened says so where it is to train."""
    try:
        return Subject(tag, foreign=not open_trainer(replace(settings, trainer=trainer)).ours)
    except SettingsError:
        return Subject(tag)


def _shown(usual: Rendering, given: Json) -> Rendering:
    """Take how answers are shown out of what is said of an endpoint."""
    return replace(usual, **{name: given.pop(name) for name in _RENDERING if name in given})


def _bootstrap(settings: Settings, said: Json | None, rendering: Rendering) -> Options | None:
    """Put what a project says of its bootstrap endpoint on top of the settings' one; with None it has none.

    As with the endpoint itself, another address begins with nothing.
    """
    usual = _usual_bootstrap(settings)
    if said is None or not (said or usual):
        return None
    if "endpoint" not in usual | said:
        raise OptionsError("extra_params, 'bootstrap' must say which \"endpoint\": no setting names one")
    if said.get("endpoint", usual.get("endpoint")) != usual.get("endpoint"):
        _require_allowed(said["endpoint"], settings.allowed_endpoints)
        usual = {}
    given = usual | said
    rendering, address = _shown(rendering, given), given.pop("endpoint")
    spec = EndpointSpec(address, timeout=settings.endpoint_timeout, base=settings.vertex_base_url)
    return Options(replace(spec, **given), rendering, alone=True)


@lru_cache(maxsize=_REMEMBERED)
def _usual_bootstrap(settings: Settings) -> Json:
    """Read what the settings say of the bootstrap endpoint, empty where they name none; it is not to be changed."""
    if not settings.bootstrap_endpoint:
        return {}
    keys = {name: _KEYS[name] for name in _OF_AN_ENDPOINT} | {"headers": _headers}
    try:
        spoken = json.loads(settings.bootstrap_options or "{}")
        return _checked(spoken, keys, "LABELLOOP_BOOTSTRAP_OPTIONS") | {"endpoint": settings.bootstrap_endpoint}
    except (OptionsError, ValueError, RecursionError) as error:
        told = str(error) if isinstance(error, OptionsError) else "LABELLOOP_BOOTSTRAP_OPTIONS is no JSON"
        raise SettingsError(told) from None


def _named(role: str, given: Json, usual: str, allowed: tuple[str, ...], check: Check) -> str:
    """Take a trainer or deployer out of what a project says; one that is not the usual one must be allowed."""
    named = given.pop(role, usual)
    if named not in (usual, *whole_addresses(allowed)):
        raise OptionsError(
            f"extra_params of the ML backend names a {role} that is not allowed here: whoever runs LabelLoop must add "
            f"it to LABELLOOP_ALLOWED_{role.upper()}S, word for word"
        )
    if wrong := check(named):
        raise OptionsError(f"extra_params, {role!r}: {named[:100]!r} is not {wrong}")
    return str(named)


@lru_cache(maxsize=_REMEMBERED)
def _usual(settings: Settings) -> Options:
    """What the settings say for all projects; read once, for they are asked for with each prediction."""
    rendering, spec = _rendering(settings), EndpointSpec.of(settings)
    bootstrap, subject = _bootstrap(settings, {}, rendering), _subject(settings, settings.trainer)
    return Options(spec, rendering, settings.trainer, settings.deployer, bootstrap, subject=subject)


def _rendering(settings: Settings) -> Rendering:
    if settings.threshold > 1:
        raise SettingsError("LABELLOOP_THRESHOLD: scores end at 1, so nothing would ever be shown")
    pairs = [pair.partition("=") for pair in settings.label_map]
    if not all(sign and name.strip() and label.strip() for name, sign, label in pairs):
        raise SettingsError("LABELLOOP_LABEL_MAP: expected class=label, separated by commas: cat=Cat,dog=Dog")
    try:
        uncertainty = _uncertainty(settings.uncertainty, "LABELLOOP_UNCERTAINTY")
    except OptionsError as error:
        raise SettingsError(str(error)) from None
    return Rendering(
        threshold=settings.threshold or None,
        label_map={name.strip(): label.strip() for name, _, label in pairs},
        uncertainty=uncertainty,
    )


def _read(extra_params: object) -> Json:
    """Check every key; what comes out are fields of EndpointSpec and Rendering."""
    if isinstance(extra_params, str):
        try:
            extra_params = json.loads(extra_params) if extra_params.strip() else {}
        except (ValueError, RecursionError):
            raise OptionsError("extra_params of the ML backend is no JSON") from None
    if extra_params is None:
        return {}
    return _checked(extra_params, _KEYS, "extra_params", "extra_params of the ML backend")


def _checked(given: object, keys: Mapping[str, _Reader], where: str, whole: str = "") -> Json:
    """Read every value by its key; ``where`` and ``whole`` name what they stand in."""
    whole = whole or where
    if not isinstance(given, dict):
        raise OptionsError(f'{whole} must be a JSON object, as in {{"threshold": 0.5}}')
    unknown = sorted(str(name) for name in given if name not in keys)
    if unknown:
        raise OptionsError(f"{whole} has an unknown key {unknown[0][:60]!r}; known are {', '.join(keys)}")
    return {name: keys[name](value, f"{where}, {name!r}") for name, value in given.items()}


def _require_allowed(address: str, allowed: tuple[str, ...]) -> None:
    if not any(_matches(address, pattern) for pattern in allowed):
        raise OptionsError(
            "extra_params of the ML backend names an endpoint that is not allowed here: whoever runs LabelLoop must "
            "add it to LABELLOOP_ALLOWED_ENDPOINTS"
        )


def _matches(address: str, pattern: str) -> bool:
    """Compare scheme, host, path and query each by itself, so that a ``*`` never reaches over the end of one.

    A path that leads back up, or an option that nobody allowed, would lead elsewhere than the pattern says.
    """
    try:
        one, other = urlsplit(address), urlsplit(pattern)
    except ValueError:
        return False
    if "@" in one.netloc or "\\" in address or not address.isprintable() or one.fragment:
        return False
    if {".", ".."} & set(unquote(one.path).split("/")):
        return False
    return one.scheme == other.scheme and all(
        fnmatchcase(part, wanted)
        for part, wanted in ((one.netloc, other.netloc), (one.path, other.path), (one.query, other.query))
    )


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise OptionsError(f"{what} must be text")
    return value


def _names(value: object, what: str) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise OptionsError(f'{what} must be a list of names, as in ["cat", "dog"]')
    return tuple(names)


def _object(value: object, what: str) -> str:
    if not isinstance(value, dict):
        raise OptionsError(f"{what} must be a JSON object")
    return json.dumps(value, sort_keys=True)


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise OptionsError(f"{what} must be a whole number from 1 on")
    return value


def _share(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise OptionsError(f"{what} must be a number from 0 to 1")
    return float(value)


def _label_map(value: object, what: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(label, str) and label for label in value.values()):
        raise OptionsError(f'{what} must be an object from class to label, as in {{"cat": "Cat"}}')
    return {str(name): label for name, label in value.items()}


def _uncertainty(value: object, what: str) -> Uncertainty:
    for known in UNCERTAINTIES:
        if value == known:
            return known
    raise OptionsError(f"{what} must be one of {', '.join(UNCERTAINTIES)}")


def _headers(value: object, what: str) -> tuple[tuple[str, str], ...]:
    pairs = list(value.items()) if isinstance(value, dict) else [("", None)]
    if not all(isinstance(text, str) and is_header(name, text) for name, text in pairs):
        raise OptionsError(f'{what} must be an object from name to text, as in {{"Authorization": "Bearer TOKEN"}}')
    return tuple((name, str(text)) for name, text in pairs)


def _bootstrap_of(value: object, what: str) -> Json | None:
    if value is False:
        return None
    if isinstance(value, str):
        return {"endpoint": value}
    keys = {name: _KEYS[name] for name in ("endpoint", *_OF_AN_ENDPOINT)}
    if not isinstance(value, dict):
        raise OptionsError(f"{what} must be an address, an object with {', '.join(keys)}, or false for none")
    return _checked(value, keys, what)


_RENDERING = ("threshold", "label_map", "uncertainty", "tag")

_OF_AN_ENDPOINT = ("request", "response", "mapping", "classes", "parameters", "version", "batch", *_RENDERING)
"""What is said of any endpoint beside its address."""

_KEYS: dict[str, _Reader] = {
    "endpoint": _text,
    "request": _text,
    "response": _text,
    "mapping": _text,
    "features": _text,
    "classes": _names,
    "parameters": _object,
    "version": _text,
    "trainer": _text,
    "deployer": _text,
    "batch": _count,
    "threshold": _share,
    "label_map": _label_map,
    "uncertainty": _uncertainty,
    "tag": _text,
    "learn": _text,
    "bootstrap": _bootstrap_of,
}
"""What a project may say, and what reads it."""
