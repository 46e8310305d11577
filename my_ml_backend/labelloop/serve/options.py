"""How a server is started: what the command line says, else what SageMaker and Vertex AI put into the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labelloop.errors import SettingsError

CLOUD_PORT = 8080
LOCAL_PORT = 9091
SAGEMAKER_MODEL = Path("/opt/ml/model")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line asks for; None leaves it to the cloud's variables, else to the default of one machine.

    ``bundle`` pins the server to that folder, or ``model.tar.gz``; ``version`` is what answers call it (None: what the
    bundle says).
    """

    host: str | None = None
    port: int | None = None
    bundle: Path | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ServePlan:
    """What a server serves and where it listens.

    ``bundle`` or ``storage`` (an address) pins it to one bundle; without them it serves the store. The two routes are
    served besides /ping and /invocations.
    """

    host: str
    port: int
    bundle: Path | None
    storage: str
    version: str | None
    health_route: str
    predict_route: str

    @classmethod
    def of(cls, options: ServeOptions, environment: Mapping[str, str], sagemaker_model: Path = SAGEMAKER_MODEL) -> Self:
        """Choose: the command line goes before SageMaker, SageMaker before Vertex AI; raises SettingsError."""
        bundle = options.bundle
        storage = "" if bundle else environment.get("AIP_STORAGE_URI", "")
        if bundle is None and not storage and _is_filled(sagemaker_model):
            bundle = sagemaker_model
        given = environment.get("SAGEMAKER_BIND_TO_PORT") or environment.get("AIP_HTTP_PORT") or ""
        cloud = bool(given or storage or bundle == sagemaker_model)
        port = _port(given, CLOUD_PORT if cloud else LOCAL_PORT) if options.port is None else options.port
        return cls(
            host=options.host or ("0.0.0.0" if cloud else "127.0.0.1"),  # noqa: S104 - a cloud asks from outside
            port=port,
            bundle=bundle,
            storage=storage,
            version=options.version,
            health_route=_route(environment, "AIP_HEALTH_ROUTE", "/ping"),
            predict_route=_route(environment, "AIP_PREDICT_ROUTE", "/invocations"),
        )


def _is_filled(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or int(text) > 65535:
        raise SettingsError(f"SAGEMAKER_BIND_TO_PORT or AIP_HTTP_PORT: {text!r} is no port")
    return int(text)


def _route(environment: Mapping[str, str], name: str, default: str) -> str:
    route = environment.get(name) or default
    if not route.startswith("/") or "<" in route:
        raise SettingsError(f"{name}: {route!r} is no route; it begins with / as in {default}")
    return route
