"""Whether anything is there."""

from collections.abc import Callable

from labelloop.endpoint_suite.deployed import Deployed


def test_ping(deployed: Deployed, note: Callable[[str], None]) -> None:
    """The endpoint is there.

    Address, network, credentials or the container itself are at fault; no other check was made.
    """
    note(deployed.ping())
