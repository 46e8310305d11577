"""Whatever stands in a message, reading it ends well."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.cloud.aws.inbox import read_message
from support.examples import examples

S3 = {"bucket": {"name": "b"}, "object": {"key": "k"}}
SHAPES: dict[str, Any] = {
    "EventBridge": {"detail-type": "Object Created", "source": "aws.s3", "time": "2026-11-29T21:35:51Z", "detail": S3},
    "S3": {
        "Records": [
            {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-29T21:35:51Z", "s3": S3}
        ]
    },
    "approval": {
        "detail-type": "SageMaker Model Package State Change",
        "source": "aws.sagemaker",
        "detail": {"ModelPackageGroupName": "g"},
    },
    "SNS": {"Type": "Notification", "Message": '{"Event": "s3:TestEvent"}'},
}


def read(body: str) -> list[str]:
    """Read a message, and look whether what comes of it is as it should be."""
    found = list(read_message({"Body": body, "ReceiptHandle": "r", "MessageId": "m"}))
    assert {one.receipt for one in found} == {"r"}
    assert all(one.place.startswith("s3://") for one in found if one.kind == "object")
    assert all(isinstance(one.place, str) and isinstance(one.at, float) for one in found)
    return [one.kind for one in found]


def nodes(shape: Any) -> Iterator[tuple[Any, Any]]:
    """Give each place in a shape: what it stands in, and its key there."""
    for key, value in list(shape.items() if isinstance(shape, dict) else enumerate(shape)):
        yield shape, key
        if isinstance(value, dict | list):
            yield from nodes(value)


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("value", [None, 7, 1e308, "x", "\ud800", [], {}, [[]], [{}], {"bucket": 7}])
def test_a_shape_with_anything_else_in_one_place_is_read(name: str, value: object) -> None:
    for number, _ in enumerate(nodes(SHAPES[name])):
        shape = copy.deepcopy(SHAPES[name])
        inside, key = list(nodes(shape))[number]
        inside[key] = value
        assert read(json.dumps(shape))
        del inside[key]
        assert read(json.dumps(shape))


@settings(max_examples=examples(50))
@given(st.text())
def test_a_message_that_is_no_json_is_read(body: str) -> None:
    assert read(body) == ["unreadable"]
