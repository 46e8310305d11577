"""Models in the stand-in of AWS answer as LabelLoop's inference server does, at endpoints and in Batch Transform."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from labelloop.types import Json
from support.aws import StandIn
from support.aws.storage import archive
from support.bundles import make_bundle, picture

BUCKET = "teams-models"
ROLE = "arn:aws:iam::123456789012:role/r"


@pytest.fixture
def sagemaker(aws: StandIn, tmp_path: Path) -> Any:
    """A client; there are models ``one`` and ``two``, made from archives in S3, and a config of each."""
    s3, client = aws.client("s3"), aws.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for number, name in enumerate(("one", "two")):
        make_bundle(tmp_path / name, gain=4.0 + number)
        s3.put_object(Bucket=BUCKET, Key=f"{name}/model.tar.gz", Body=archive(tmp_path / name))
        container = {"Image": "serve:1", "ModelDataUrl": f"s3://{BUCKET}/{name}/model.tar.gz"}
        client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {"VariantName": "primary", "ModelName": name, "InitialInstanceCount": 1}
        client.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant | {"InstanceType": "ml.m5.large"}],
            AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/answers"}},
        )
    return client


@pytest.fixture
def endpoint(aws: StandIn, sagemaker: Any) -> str:
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="one")
    aws.endpoints.finish("e")
    return "e"


def ask(aws: StandIn, body: bytes, kind: str = "image/png") -> Json:
    answer = aws.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=body, ContentType=kind)
    told: Json = json.loads(answer["Body"].read())
    return told | {"variant": answer["InvokedProductionVariant"]}


def test_an_endpoint_answers_by_its_models_archive(aws: StandIn, endpoint: str) -> None:
    answer = ask(aws, picture("red"))
    assert (answer["predictions"][0]["label"], answer["variant"]) == ("red", "primary")


def test_while_an_endpoint_moves_both_answer_and_then_the_new_one(aws: StandIn, sagemaker: Any, endpoint: str) -> None:
    first = ask(aws, picture("red"))["predictions"][0]["model_version"]
    size = {"Type": "CAPACITY_PERCENT", "Value": 10}
    routing = {"Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": 60}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="two", DeploymentConfig=policy)
    versions = [ask(aws, picture("red"))["predictions"][0]["model_version"] for _ in range(100)]
    assert versions.count(first) == 90
    aws.endpoints.finish(endpoint)
    last = ask(aws, picture("red"))["predictions"][0]["model_version"]
    assert last != first
    assert set(versions) == {first, last}


def test_what_a_container_refuses_is_a_model_error(aws: StandIn, endpoint: str) -> None:
    with pytest.raises(ClientError, match=r"Received client error \(4\d\d\) from primary") as refused:
        ask(aws, b"this is no picture")
    assert refused.value.response["Error"]["Code"] == "ModelError"
    assert 400 <= refused.value.response["OriginalStatusCode"] < 500


def test_an_endpoint_answers_into_s3(aws: StandIn, endpoint: str) -> None:
    s3, runtime = aws.client("s3"), aws.client("sagemaker-runtime")
    for key, body in (("good", picture("blue")), ("bad", b"no picture")):
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        taken = runtime.invoke_endpoint_async(
            EndpointName=endpoint, InputLocation=f"s3://{BUCKET}/{key}", ContentType="image/png", InferenceId=key
        )
        assert taken["InferenceId"] == key
        place = taken["OutputLocation" if key == "good" else "FailureLocation"].removeprefix(f"s3://{BUCKET}/")
        answer = json.loads(s3.get_object(Bucket=BUCKET, Key=place)["Body"].read())
        assert ("error" in answer) == (key == "bad")


def transform(sagemaker: Any, name: str, **more: Any) -> Json:
    """Have all objects below ``in`` transformed."""
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName="one",
        TransformInput={"DataSource": source, "ContentType": "image/png"} | more,
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    found: Json = sagemaker.describe_transform_job(TransformJobName=name)
    return found


def test_batch_transform_answers_each_object(aws: StandIn, sagemaker: Any) -> None:
    s3 = aws.client("s3")
    for colour in ("red", "blue"):
        s3.put_object(Bucket=BUCKET, Key=f"in/{colour}.png", Body=picture(colour))
    assert transform(sagemaker, "good")["TransformJobStatus"] == "Completed"
    answer = json.loads(s3.get_object(Bucket=BUCKET, Key="out/blue.png.out")["Body"].read())
    assert answer["predictions"][0]["label"] == "blue"

    s3.put_object(Bucket=BUCKET, Key="in/broken.png", Body=b"no picture")
    failed = transform(sagemaker, "bad")
    assert failed["TransformJobStatus"] == "Failed"
    assert "broken.png" in failed["FailureReason"]
    with pytest.raises(ClientError, match="must be unique"):
        transform(sagemaker, "bad")


def test_somebody_elses_image_answers_by_a_function(aws: StandIn, sagemaker: Any) -> None:
    aws.models.images["serve:1"] = lambda data, body, kind: f"{data} {kind} {body.decode()}|".encode()
    aws.client("s3").put_object(Bucket=BUCKET, Key="in/lines", Body=b"a\nb\n")
    assert transform(sagemaker, "lines", SplitType="Line")["TransformJobStatus"] == "Completed"
    written = aws.client("s3").get_object(Bucket=BUCKET, Key="out/lines.out")["Body"].read().decode()
    assert written == f"s3://{BUCKET}/one/model.tar.gz image/png a|s3://{BUCKET}/one/model.tar.gz image/png b|"
