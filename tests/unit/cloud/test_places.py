"""Where files lie that this machine and SageMaker hand each other."""

import pytest

from labelloop.cloud.aws.places import Places, location_of, read_shards, results, shard, source, write_shards
from labelloop.errors import Damaged, SettingsError
from labelloop.settings import Settings

NAMES = ("a" * 64 + ".tar", "b" * 64 + ".tar")
PLACES = Places("s3://bucket/team/", "cats")


def test_a_pipeline_has_a_folder_of_its_own() -> None:
    assert PLACES.of(source("k1", "sides.json")) == "s3://bucket/team/cats/source/k1/sides.json"
    assert PLACES.of(shard("a.tar")) == "s3://bucket/team/cats/pictures/a.tar"
    assert PLACES.of(results("x1", "judge")) == "s3://bucket/team/cats/executions/x1/judge/"


def test_the_location_is_the_one_that_is_set_else_below_the_store() -> None:
    assert location_of(Settings(aws_location="s3://b/x/", store="s3://other/y")) == "s3://b/x"
    assert location_of(Settings(store="s3://other/y")) == "s3://other/y/cloud"


def test_without_a_folder_in_s3_the_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_AWS_LOCATION=s3://"):
        location_of(Settings(store="file:///data/store"))


def test_a_list_of_shards_is_one_that_sagemaker_reads() -> None:
    written = write_shards("s3://bucket/team/cats/pictures/", NAMES)
    assert read_shards(written) == ("s3://bucket/team/cats/pictures/", NAMES)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[1]", b'[{"prefix": "s3://b/"}, 7]', b'[{"prefix": "s3://b/"}, "../a"]']
)
def test_a_damaged_list_of_shards_is_told(content: bytes) -> None:
    with pytest.raises(Damaged, match="hand the run over again"):
        read_shards(content)
