"""S3 on the wire, as moto plays it: the stand-in of AWS without what it adds."""

from collections.abc import Iterator
from contextlib import contextmanager

from support.aws.front import Front, serving
from support.aws_wire import ACCOUNT_VARIABLES


def moto_environment(address: str) -> dict[str, str]:
    """Name the variables by which boto3 finds this S3, and nobody's own account."""
    return {**ACCOUNT_VARIABLES, "AWS_ENDPOINT_URL_S3": address, "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def moto_at(address: str) -> Iterator[None]:
    """Run moto at an address of this machine that is free."""
    with serving(Front(), int(address.rpartition(":")[2])):
        yield


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto on a port of its own; gives its address."""
    with serving(Front()) as address:
        yield address
