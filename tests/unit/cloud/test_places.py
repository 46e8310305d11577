"""Where files lie that this machine and SageMaker hand each other."""

import pytest

from labelloop.cloud.aws.places import Places, read_shards, results, shard, source, write_shards
from labelloop.errors import Damaged

NAMES = ("a" * 64 + ".tar", "b" * 64 + ".tar")
PLACES = Places("s3://bucket/team/", "cats")


def test_a_pipeline_has_a_folder_of_its_own() -> None:
    assert PLACES.of(source("k1", "sides.json")) == "s3://bucket/team/cats/source/k1/sides.json"
    assert PLACES.of(shard("a.tar")) == "s3://bucket/team/cats/pictures/a.tar"
    assert PLACES.of(results("x1", "judge")) == "s3://bucket/team/cats/executions/x1/judge/"


def test_a_list_of_shards_is_one_that_sagemaker_reads() -> None:
    written = write_shards("s3://bucket/team/cats/pictures/", NAMES)
    assert read_shards(written) == ("s3://bucket/team/cats/pictures/", NAMES)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[1]", b'[{"prefix": "s3://b/"}, 7]', b'[{"prefix": "s3://b/"}, "../a"]']
)
def test_a_damaged_list_of_shards_is_told(content: bytes) -> None:
    with pytest.raises(Damaged, match="hand the run over again"):
        read_shards(content)
