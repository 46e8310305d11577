"""The way out of this machine that the environment names to all programs: whom TLS trusts, and the proxy for HTTPS."""

import os
import ssl
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from labelloop.errors import SettingsError

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@cache
def trusted(bundle: str = "") -> ssl.SSLContext:
    """Give the authorities that TLS trusts: a file of certificates or a folder of them, else what Python trusts.

    Read once for all connections of a process: each reading takes 35 ms. Raises SettingsError when they are not there.
    """
    if not bundle:
        context = httpx.create_ssl_context()
        context.load_default_certs()  # those of the machine, too
        return context
    where = f"{bundle} ({', '.join(('AWS_CA_BUNDLE', *_BUNDLES))})"
    if not Path(bundle).exists():
        raise SettingsError(f"the certificates to trust are not there: {where}")
    try:
        if Path(bundle).is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise SettingsError(f"the certificates to trust cannot be read: {where}: {error.strerror}") from error


def named_bundle() -> str:
    """Give the certificates that the environment names to all programs; empty for none."""
    return next(filter(None, map(os.environ.get, _BUNDLES)), "")


def https_proxy(host: str, port: int) -> str:
    """Find the proxy for HTTPS to a host: that of ``HTTPS_PROXY``, unless ``NO_PROXY`` names the host; empty for none.

    Raises SettingsError for a proxy that is not reached over HTTP.
    """
    proxy = "" if proxy_bypass(f"{host}:{port}") else getproxies().get("https", "")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.lower().startswith("http://"):
        raise SettingsError("HTTPS_PROXY names a proxy of no known kind: expected http://host:port")
    return proxy


def proxy_parts(address: str) -> tuple[httpcore.URL, tuple[bytes, bytes] | None]:
    """Take a proxy's address apart: where it is, and who we are there, if it says so."""
    parts = urlsplit(address)
    who = None if parts.username is None else (unquote(parts.username).encode(), unquote(parts.password or "").encode())
    return httpcore.URL(scheme="http", host=parts.hostname or "", port=parts.port or 80, target="/"), who
