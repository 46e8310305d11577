"""A store in S3, whose uploads break halfway."""

import os
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from chaos.machine import House, Machine
from chaos.wire import Wire
from support.moto_server import moto_environment, moto_server

if TYPE_CHECKING:
    from chaos.scene import Scene

_HALF_BYTES = 30_000
"""More than any request has but the upload of a bundle's weights or of a manifest with many labels."""


def _given(machine: Machine, inside: ExitStack) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Run an S3 of this machine alone, to which LabelLoop has a wire, and this program its own way."""
    import boto3

    address = inside.enter_context(moto_server())
    machine.to_s3 = inside.enter_context(Wire(int(address.rpartition(":")[2])))
    os.environ.update(moto_environment(address))
    bucket = f"chaos-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return {"store": f"s3://{bucket}/loop"}, moto_environment(machine.to_s3.url)


HOUSE = House("s3", given=_given)


def breaks(scene: "Scene") -> None:
    """Break some uploads, more than boto3 tries again by itself, and every connection that is open now."""
    wire = scene.machine.to_s3
    wire.cut(scene.chance.uniform(0, 2))
    wire.cut_after(_HALF_BYTES, scene.chance.randint(1, 12))
