"""Serving the one bundle a container was given: SageMaker, Vertex AI, or ``--bundle``."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from labelloop.errors import LabelLoopError, NotFound, SettingsError
from labelloop.models.bundle import DESCRIPTION, METRICS, RECORD, Wanted, bundle_digest, files, read_bundle_info
from labelloop.models.opening import open_store
from labelloop.serve.engines.base import Engine
from labelloop.serve.refusal import NotReady
from labelloop.serve.registry import ModelChoice
from labelloop.types import Json, Target

log = logging.getLogger(__name__)


def download(address: str, cache: Path, wanted: Wanted) -> Path:
    """Copy a bundle from ``gs://`` or ``s3://bucket/prefix`` into a folder of its own below ``cache``, and name that.

    Of the weight files only those that are ``wanted`` are copied, and no other one stays there from before. Raises
    SettingsError for an address of another kind or without a bundle, BundleError for a ``model.json`` that is none,
    StoreError when it cannot be read.
    """
    if not address.startswith(("gs://", "s3://")):
        kind = address.partition("://")[0]
        raise SettingsError(f"AIP_STORAGE_URI: {kind}:// cannot be read, gs:// and s3:// can; or use --bundle")
    store = open_store(address)
    directory = cache / hashlib.sha256(address.encode()).hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    for name in (*files(), RECORD):
        (directory / name).unlink(missing_ok=True)
    there = {*store.names("")}
    if DESCRIPTION not in there:
        raise SettingsError(f"AIP_STORAGE_URI: there is no {DESCRIPTION} at {address}")
    store.download(DESCRIPTION, directory / DESCRIPTION)
    for name in sorted(there & {METRICS, RECORD, *wanted(read_bundle_info(directory))}):
        store.download(name, directory / name)
    return directory


class PinnedCatalog:
    """One version, loaded in the background from ``start`` on; a request may name it, and no other.

    Which project a request names is not looked at: the bundle does not know whose it is.
    """

    def __init__(self, version: str, load: Callable[[], Engine]) -> None:
        self._version = version
        self._load = load
        self._engine: Engine | None = None
        self._trouble = f"version {version} is being loaded"
        self.settled = threading.Event()
        """Set when the version is loaded, or cannot be."""

    def start(self) -> None:
        """Begin to load."""
        threading.Thread(target=self._run, name="load", daemon=True).start()

    def choose(self, target: Target) -> ModelChoice:
        """Answer with the one version; see Catalog."""
        if target.version not in (None, self._version):
            raise NotFound(f"this server is pinned to version {self._version} and has no version {target.version}")
        if self._engine is None:
            raise NotReady(self._trouble)
        return ModelChoice(self._engine, self._version)

    def state(self) -> Json:
        """Name the version; see Catalog."""
        return {"mode": "pinned", "version": self.choose(Target()).version}

    def _run(self) -> None:
        try:
            self._engine = self._load()
            log.info("version %s is loaded", self._version)
        except Exception as error:  # what nobody foresaw must not leave "is being loaded" standing for ever
            reason = str(error) if isinstance(error, LabelLoopError) else "the server's log says why"
            self._trouble = f"version {self._version} cannot be loaded: {reason}"
            log.exception("version %s cannot be loaded", self._version)
        finally:
            self.settled.set()


def version_of(bundle: Path) -> str:
    """Name a bundle's version: what a ``version.json`` beside its files says, else ``bundle-`` and its digest.

    The digest is that of the whole bundle, whichever weight files are here. Raises BundleError.
    """
    try:
        named = json.loads((bundle / RECORD).read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        named = None
    return (
        named
        if isinstance(named, str) and named
        else f"bundle-{bundle_digest(bundle, read_bundle_info(bundle).files)[:16]}"
    )
