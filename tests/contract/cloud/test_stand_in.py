"""The stand-in of AWS does what AWS does, as boto3 sees it."""

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from labelloop.children import start_child, stop_group
from support.aws import HungUp, StandIn, dying_at
from support.crash_store import Killed
from support.waiting import wait_until

CONTAINER = {"Image": "1.dkr.ecr.eu-west-1.amazonaws.com/serve:1", "ModelDataUrl": "s3://models/a.tar.gz"}


@pytest.fixture
def sagemaker(aws: StandIn) -> Any:
    return aws.client("sagemaker")


def client(service: str) -> Any:
    """A client that finds AWS as the product does, and asks once."""
    return boto3.client(service, config=boto3.session.Config(retries={"total_max_attempts": 1}))


def config(sagemaker: Any, name: str) -> str:
    """Make a model and an endpoint config of that name."""
    sagemaker.create_model(ModelName=name, PrimaryContainer=CONTAINER, ExecutionRoleArn="arn:aws:iam::1:role/r")
    variant = {"VariantName": "primary", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant | {"InitialVariantWeight": 1}]
    )
    return name


def status(sagemaker: Any, name: str = "e") -> str:
    return str(sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"])


@pytest.fixture
def endpoint(sagemaker: Any) -> str:
    """An endpoint InService with the config ``one``; there is a config ``two``."""
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName=config(sagemaker, "one"))
    config(sagemaker, "two")
    wait_until(lambda: status(sagemaker) == "InService", "no endpoint")
    return "e"


@pytest.mark.parametrize(
    ("service", "method", "arguments"),
    [
        ("sagemaker", "list_models", {}),
        ("sqs", "list_queues", {}),
        ("sts", "get_caller_identity", {}),
        ("cloudwatch", "describe_alarms", {}),
        ("lambda", "list_functions", {}),
        ("s3", "list_buckets", {}),
        ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}),
        ("s3", "list_objects_v2", {"Bucket": "b"}),
        ("s3", "upload_part", {"Bucket": "b", "Key": "k/k", "UploadId": "1", "PartNumber": 1, "Body": b"x"}),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_asked_is_noted_and_refused_in_the_words_of_each_protocol(
    aws: StandIn, service: str, method: str, arguments: dict[str, Any]
) -> None:
    asking = client(service)
    operation = asking.meta.method_to_api_mapping[method]
    aws.fail(f"{service}:{operation}", "ThrottlingException", 400, "Rate exceeded & more")
    with pytest.raises(ClientError) as refused:
        getattr(asking, method)(**arguments)
    assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    assert refused.value.response["Error"]["Message"] == "Rate exceeded & more"
    assert aws.calls == [f"{service}:{operation}"]


def test_a_refusal_ends_after_so_many_times(aws: StandIn) -> None:
    sqs = client("sqs")
    aws.fail("ListQueues", "RequestExpired", times=2)
    for _ in range(2):
        with pytest.raises(ClientError, match="RequestExpired"):
            sqs.list_queues()
    sqs.list_queues()
    assert aws.calls.count("sqs:ListQueues") == 3


def test_a_role_that_lacks_an_action_is_told_which(aws: StandIn) -> None:
    aws.deny("sagemaker:ListModels", "arn:aws:sagemaker:eu-west-1:1:model/*")
    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:ListModels on resource: arn:aws"):
        client("sagemaker").list_models()


@pytest.mark.parametrize("after", [False, True], ids=["undone", "done"])
def test_an_answer_may_be_lost(aws: StandIn, after: bool) -> None:
    aws.hang_up("sqs:CreateQueue", after=after)
    with pytest.raises(ConnectionClosedError):
        client("sqs").create_queue(QueueName="q")
    assert len(aws.client("sqs").list_queues().get("QueueUrls", [])) == after


def test_a_test_acts_between_two_calls(aws: StandIn) -> None:
    seen = []

    def look(call: Any) -> None:
        seen.append(call.parameters["QueueName"])
        raise HungUp

    aws.before("CreateQueue", look)
    with pytest.raises(ConnectionClosedError):
        client("sqs").create_queue(QueueName="q")
    assert seen == ["q"]


def test_its_own_clients_are_not_counted(aws: StandIn) -> None:
    aws.fail("ListQueues", "Throttling", times=None)
    aws.client("sqs").list_queues()
    assert aws.calls == []


def test_an_operation_that_is_not_there_says_so(aws: StandIn) -> None:
    with pytest.raises(ClientError, match="the stand-in has no sagemaker:CreateProject"):
        client("sagemaker").create_project(ProjectName="p")


# Endpoints.
def test_an_endpoint_is_created_and_updated_step_by_step(aws: StandIn, sagemaker: Any) -> None:
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName=config(sagemaker, "one"))
    assert [status(sagemaker), status(sagemaker)] == ["Creating", "InService"]
    sagemaker.update_endpoint(EndpointName="e", EndpointConfigName=config(sagemaker, "two"))
    during = sagemaker.describe_endpoint(EndpointName="e")
    assert (during["EndpointStatus"], during["EndpointConfigName"]) == ("Updating", "one")
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == "two"
    after = sagemaker.describe_endpoint(EndpointName="e")
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "two")
    assert after["ProductionVariants"][0]["CurrentWeight"] == 1


def test_a_canary_is_remembered_and_a_stuck_update_ends_when_told(aws: StandIn, sagemaker: Any, endpoint: str) -> None:
    routing = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10}, "WaitIntervalInSeconds": 60}
    deployment = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="two", DeploymentConfig=deployment)
    aws.endpoints.stick(endpoint)
    assert [status(sagemaker) for _ in range(5)] == ["Updating"] * 5
    assert aws.endpoints.pending(endpoint) == ("two", 0.1)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="one")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName=endpoint)
    aws.endpoints.finish(endpoint)
    found = sagemaker.describe_endpoint(EndpointName=endpoint)
    assert found["EndpointStatus"] == "InService"
    assert found["LastDeploymentConfig"] == deployment


def test_an_alarm_during_an_update_takes_it_back(aws: StandIn, sagemaker: Any, endpoint: str) -> None:
    cloudwatch = aws.client("cloudwatch")
    metric = {"MetricName": "Invocation5XXErrors", "Namespace": "AWS/SageMaker", "Statistic": "Sum", "Period": 60}
    rule = {"EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
    cloudwatch.put_metric_alarm(AlarmName="errors", **metric, **rule)
    sagemaker.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName="two",
        DeploymentConfig={"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}},
    )
    assert status(sagemaker) == "Updating"
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a test")
    assert status(sagemaker) == "RollingBack"
    found = sagemaker.describe_endpoint(EndpointName=endpoint)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "one")
    assert "errors" in found["FailureReason"]


def test_a_test_takes_an_update_back(aws: StandIn, sagemaker: Any, endpoint: str) -> None:
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="two")
    aws.endpoints.roll_back(endpoint, "the container did not answer /ping")
    assert status(sagemaker) == "RollingBack"
    assert sagemaker.describe_endpoint(EndpointName=endpoint)["FailureReason"] == "the container did not answer /ping"


def test_a_creation_and_a_way_back_may_fail(aws: StandIn, sagemaker: Any, endpoint: str) -> None:
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="two")
    aws.endpoints.fail(endpoint, "no capacity")
    found = sagemaker.describe_endpoint(EndpointName=endpoint)
    assert (found["EndpointStatus"], found["FailureReason"]) == ("UpdateRollbackFailed", "no capacity")
    sagemaker.create_endpoint(EndpointName="f", EndpointConfigName="one")
    aws.endpoints.fail("f", "no image")
    assert status(sagemaker, "f") == "Failed"
    with pytest.raises(ClientError, match="failed endpoint"):
        sagemaker.update_endpoint(EndpointName="f", EndpointConfigName="two")
    sagemaker.delete_endpoint(EndpointName="f")
    listed = sagemaker.list_endpoints(NameContains="e")["Endpoints"]
    assert [(one["EndpointName"], one["EndpointStatus"]) for one in listed] == [("e", "UpdateRollbackFailed")]


def test_names_of_endpoints_are_checked(aws: StandIn, sagemaker: Any, endpoint: str) -> None:
    for method, arguments, said in (
        ("create_endpoint", {"EndpointName": "e", "EndpointConfigName": "one"}, "already existing endpoint"),
        ("update_endpoint", {"EndpointName": "x", "EndpointConfigName": "one"}, "Could not find endpoint"),
        ("update_endpoint", {"EndpointName": "e", "EndpointConfigName": "x"}, "Could not find endpoint config"),
        ("describe_endpoint", {"EndpointName": "x"}, "Could not find endpoint"),
    ):
        with pytest.raises(ClientError, match=said):
            getattr(sagemaker, method)(**arguments)
    with pytest.raises(ClientError, match="already existing model"):
        config(sagemaker, "one")


# The registry.
def package(sagemaker: Any, **more: Any) -> str:
    """Register a package in the group ``g``."""
    told = {
        "ModelPackageGroupName": "g",
        "InferenceSpecification": {
            "Containers": [CONTAINER],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    }
    return str(sagemaker.create_model_package(**told, **more)["ModelPackageArn"])


def test_a_package_keeps_what_was_said_of_it(aws: StandIn, sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    arn = package(sagemaker, ModelApprovalStatus="Approved", CustomerMetadataProperties={"version": "v1"})
    sagemaker.update_model_package(ModelPackageArn=arn, ApprovalDescription="because")
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"run": "r1"})
    found = sagemaker.describe_model_package(ModelPackageName=arn)
    assert found["ModelApprovalStatus"] == "Approved"
    assert found["ApprovalDescription"] == "because"
    assert found["CustomerMetadataProperties"] == {"version": "v1", "run": "r1"}
    assert found["ModelPackageVersion"] == 1


def test_a_token_makes_one_package_and_a_number_is_never_given_twice(aws: StandIn, sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_model_package_group(ModelPackageGroupName="g")
    one, two = package(sagemaker, ClientToken="a"), package(sagemaker, ClientToken="b")
    assert package(sagemaker, ClientToken="a") == one
    with pytest.raises(ClientError, match="still contains model packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName="g")
    sagemaker.delete_model_package(ModelPackageName=one)
    assert package(sagemaker).endswith("/3")
    listed = sagemaker.list_model_packages(ModelPackageGroupName="g")["ModelPackageSummaryList"]
    assert [found["ModelPackageVersion"] for found in listed] == [2, 3]
    assert listed[0]["ModelPackageArn"] == two
    assert listed[0]["ModelApprovalStatus"] == "PendingManualApproval"


def test_an_approval_is_told_to_a_queue(aws: StandIn, sagemaker: Any) -> None:
    sqs, events = aws.client("sqs"), aws.client("events")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": ["g"], "ModelApprovalStatus": ["Approved"]},
    }
    events.put_rule(Name="approved", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="approved", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:eu-west-1:123456789012:q"}])
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    arn = package(sagemaker, ModelApprovalStatus="PendingManualApproval")
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.update_model_package(ModelPackageArn=arn, ApprovalDescription="again")
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(messages) == 1
    event = json.loads(messages[0]["Body"])
    assert event["detail"]["ModelPackageArn"] == arn
    assert event["detail"]["ModelApprovalStatus"] == "Approved"
    assert event["resources"] == [arn]


def test_what_is_written_below_a_prefix_is_told_to_a_queue(aws: StandIn) -> None:
    s3, sqs, events = aws.client("s3"), aws.client("sqs"), aws.client("events")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    s3.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_notification_configuration(
        Bucket="pictures", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    detail = {"bucket": {"name": ["pictures"]}, "object": {"key": [{"prefix": "annotations/"}]}}
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["aws.s3"], "detail": detail}))
    events.put_targets(Rule="r", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:eu-west-1:123456789012:q"}])
    s3.put_object(Bucket="pictures", Key="other/1", Body=b"{}")
    s3.put_object(Bucket="pictures", Key="annotations/1", Body=b"{}")
    s3.delete_object(Bucket="pictures", Key="annotations/1")
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    put, deleted = (json.loads(one["Body"]) for one in messages)
    assert [put["detail-type"], deleted["detail-type"]] == ["Object Created", "Object Deleted"]
    assert put["detail"]["object"]["key"] == deleted["detail"]["object"]["key"] == "annotations/1"
    assert put["detail"]["object"]["etag"] == "99914b932bd37a50b983c5e7c90ae93b"
    assert put["detail"]["object"]["sequencer"] < deleted["detail"]["object"]["sequencer"]
    assert put["id"] != deleted["id"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_process_dies_between_two_calls(aws: StandIn, after: bool) -> None:
    sqs = client("sqs")
    with dying_at(1, after=after) as done:
        sqs.create_queue(QueueName="one")
        with pytest.raises(Killed):
            sqs.create_queue(QueueName="two")
        with pytest.raises(Killed):
            sqs.list_queues()
    assert done == ["CreateQueue"] * (1 + after)
    assert len(sqs.list_queues()["QueueUrls"]) == 1 + after


def test_what_was_said_of_a_bucket_and_a_queue_comes_back_as_it_was_said(aws: StandIn) -> None:
    s3, sqs = aws.client("s3"), aws.client("sqs")
    s3.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket="pictures")
    s3.put_bucket_notification_configuration(
        Bucket="pictures", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    assert s3.get_bucket_notification_configuration(Bucket="pictures")["EventBridgeConfiguration"] == {}
    sqs.create_queue(QueueName="dead")
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":2}'
    queue = sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert told["RedrivePolicy"] == policy


def test_pictures_are_read_by_signed_addresses(aws: StandIn) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="pictures", Key="a b.png", Body=b"picture")
    address = s3.generate_presigned_url("get_object", {"Bucket": "pictures", "Key": "a b.png"})
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"picture"
    assert aws.calls == ["s3:GetObject"]


def test_it_runs_alone_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.aws", "--folder", str(tmp_path / "aws")]
    # Who runs the tests may have said where they lie to pytest alone.
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    alone = start_child(command, log=tmp_path / "said.txt", environment=found)
    said = tmp_path / "said.txt"
    try:
        wait_until(lambda: "AWS_SHARED_CREDENTIALS_FILE" in said.read_text(), said.read_text)
        url, *variables = said.read_text().split()
        told = dict(one.split("=", 1) for one in variables)
        assert told["AWS_ENDPOINT_URL"] == url
        keys = {name.lower(): told[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        asking = boto3.client("sqs", told["AWS_DEFAULT_REGION"], endpoint_url=url, **keys)
        assert asking.create_queue(QueueName="q")["QueueUrl"].endswith("/q")
    finally:
        stop_group(alone, 10)
    assert alone.returncode == 0
