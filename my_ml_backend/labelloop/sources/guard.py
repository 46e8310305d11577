"""Keeps pictures' addresses from reaching into private networks.

The address is checked when the connection is made, on what the name resolves to at that moment: a name that changes its
address between check and use, a redirect, or a number written in a strange form all end here.
"""

import ipaddress
import socket

from labelloop.errors import AddressRefused
from labelloop.sources.transport import open_socket
from labelloop.sources.urls import Origin

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")

_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16", "fec0::/10"),
    )
)
"""Special networks of IANA's registries that not every Python 3.11 knows as such."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; what carries an IPv4 address inside is judged by that."""
    ip: IPAddress = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _carried(ip)
        if inner is not None:
            ip = inner
    if any(ip in network for network in _SPECIAL):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_link_local)


def _carried(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Give the IPv4 address inside an IPv6 address that is mapped, translated (NAT64, SIIT), 6to4 or Teredo."""
    if ip in _NAT64 or ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour


def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a host now; raises AddressRefused when any of its addresses is private, socket.gaierror for no host."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(address):
            raise AddressRefused(
                f"{host} is at {address}, a private address. If pictures may come from there, set "
                "LABELLOOP_ALLOW_PRIVATE_ADDRESSES=true."
            )
    return found


class PublicOnly:
    """Connects to public addresses only, and to ``exempt``: Label Studio itself."""

    def __init__(self, exempt: Origin | None) -> None:
        self._exempt = None if exempt is None else (exempt.host, exempt.port)

    def __call__(self, host: str, port: int, seconds: float) -> socket.socket:
        """Connect to the very addresses that were checked, one after the other; raises AddressRefused or OSError."""
        if (host, port) == self._exempt:
            return open_socket(host, port, seconds)
        failure: OSError = OSError(f"{host} has no address")
        try:
            addresses = public_addresses(host, port)
        except (socket.gaierror, UnicodeError) as error:
            raise OSError(f"{host} has no address ({error})") from error
        for address in addresses:
            try:
                return open_socket(address, port, seconds)
            except OSError as error:
                failure = error
        raise failure
