"""The way out of this machine: the proxy and the certificates that its environment names to all programs."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3

from labelloop.endpoints.failures import Denied

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def https_proxy(host: str, port: int) -> str:
    """Find the proxy for HTTPS to a host: ``HTTPS_PROXY``, unless ``NO_PROXY`` names the host; empty for none.

    Raises Denied for a proxy that is not reached over HTTP.
    """
    proxy = "" if proxy_bypass(f"{host}:{port}") else getproxies().get("https", "")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.lower().startswith("http://"):
        raise Denied("HTTPS_PROXY names a proxy of no known kind: expected http://host:port")
    return proxy


def proxy_headers(proxy: str) -> dict[str, str]:
    """Say who we are, where the proxy's address has user name and password."""
    pair = urllib3.util.parse_url(proxy).auth
    return urllib3.make_headers(proxy_basic_auth=unquote(pair)) if pair else {}


def trusted(bundle: str = "") -> dict[str, Any]:
    """Say whom to trust, in urllib3's words: a bundle of certificates, or a folder of them; else what Python trusts.

    Without a ``bundle`` it is that of ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``. Raises Denied when it is not there.
    """
    path = bundle or next(filter(None, map(os.environ.get, _BUNDLES)), "")
    if not path:
        return {}
    if not Path(path).exists():
        raise Denied(f"the certificates to trust are not there: {path} (AWS_CA_BUNDLE, {', '.join(_BUNDLES)})")
    return {"ca_cert_dir" if Path(path).is_dir() else "ca_certs": path}
