"""Pipelines in the stand-in of AWS: definitions are read, and steps really run, as boto3 sees it."""

import io
import json
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from labelloop.types import Json
from support.aws import StandIn
from support.waiting import wait_until

ROLE = "arn:aws:iam::123456789012:role/pipelines"
BUCKET = "teams-models"
RESOURCES = {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}}

COUNT = """
import json, os, pathlib, sys
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
text = pathlib.Path(sys.argv[1]).read_text()
out = base / "processing" / "out"
(out / "deep").mkdir()
(out / "deep" / "count.json").write_text(json.dumps({"letters": {"value": len(text)}, "word": os.environ["WORD"]}))
(base / "output").mkdir(exist_ok=True)
told = json.loads((base / "config/processingjobconfig.json").read_text())
(base / "output" / "message").write_text("counted " + told["RoleArn"])
print("counting")
"""
TRAIN = """
import json, os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
told = json.loads((base / "input/config/hyperparameters.json").read_text())
count = json.loads((base / "input/data/counts/deep/count.json").read_text())
(base / "model" / "weights.txt").write_text(told["scale"] * count["letters"]["value"])
(base / "output/data" / "log.txt").write_text("trained")
"""


def get(name: str) -> Json:
    return {"Get": name}


def processing(name: str, program: str = COUNT, **more: Any) -> Json:
    """A step that reads ``s3://.../in`` and writes its counts below ``s3://.../counts/EXECUTION``."""
    inside = "/opt/ml/processing"
    place = {"Std:Join": {"On": "/", "Values": [get("Parameters.Location"), get("Execution.PipelineExecutionId")]}}
    output = {"S3Uri": place, "LocalPath": f"{inside}/out", "S3UploadMode": "EndOfJob"}
    source = {"S3Uri": f"s3://{BUCKET}/in", "LocalPath": f"{inside}/in", "S3DataType": "S3Prefix"}
    arguments = {
        "ProcessingResources": RESOURCES,
        "AppSpecification": {
            "ImageUri": "train:1",
            "ContainerEntrypoint": ["python", "-c", program],
            "ContainerArguments": [f"{inside}/in/text.txt"],
        },
        "RoleArn": ROLE,
        "Environment": {"WORD": get("Parameters.Word")},
        "ProcessingInputs": [{"InputName": "in", "S3Input": source | {"S3InputMode": "File"}}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "counts", "S3Output": output}]},
    }
    files = [{"PropertyFileName": "Counts", "OutputName": "counts", "FilePath": "deep/count.json"}]
    return {"Name": name, "Type": "Processing", "Arguments": arguments, "PropertyFiles": files, **more}


def training(name: str, program: str = TRAIN, **more: Any) -> Json:
    """A step that trains on what the step Count wrote."""
    counts = get("Steps.Count.ProcessingOutputConfig.Outputs['counts'].S3Output.S3Uri")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": counts, "S3DataDistributionType": "FullyReplicated"}}
    arguments = {
        "AlgorithmSpecification": {
            "TrainingImage": "train:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-c", program],
        },
        "RoleArn": ROLE,
        "HyperParameters": {"scale": get("Parameters.Word")},
        "InputDataConfig": [{"ChannelName": "counts", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
        "ResourceConfig": RESOURCES["ClusterConfig"],
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **more,
    }
    return {"Name": name, "Type": "Training", "Arguments": arguments}


def register(name: str, status: str) -> Json:
    """A step that registers what Train made."""
    container = {"Image": "serve:1", "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
    accepted = {"SupportedContentTypes": ["image/jpeg"], "SupportedResponseMIMETypes": ["application/json"]}
    arguments = {
        "ModelPackageGroupName": "g",
        "InferenceSpecification": {"Containers": [container], **accepted},
        "ModelApprovalStatus": status,
        "CustomerMetadataProperties": {"said": get("Steps.Count.ExitMessage")},
    }
    return {"Name": name, "Type": "RegisterModel", "Arguments": arguments}


def condition(name: str, least: Any) -> Json:
    """A step that registers as approved where there are at least so many letters, else as rejected."""
    value = {"Std:JsonGet": {"PropertyFile": get("Steps.Count.PropertyFiles.Counts"), "Path": "letters.value"}}
    asked = {"Type": "GreaterThanOrEqualTo", "LeftValue": value, "RightValue": least}
    branches = {"IfSteps": [register("Approve", "Approved")], "ElseSteps": [register("Reject", "Rejected")]}
    return {"Name": name, "Type": "Condition", "Arguments": {"Conditions": [asked], **branches}, "DependsOn": ["Train"]}


def definition(*steps: Json) -> str:
    parameters = [
        {"Name": "Location", "Type": "String", "DefaultValue": f"s3://{BUCKET}/counts"},
        {"Name": "Word", "Type": "String"},
        {"Name": "Least", "Type": "Integer", "DefaultValue": 3},
    ]
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters, "Steps": list(steps)})


@pytest.fixture
def sagemaker(aws: StandIn) -> Any:
    """A client; there is a bucket with a text of five letters in it, and a group of packages."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=BUCKET, Key="in/text.txt", Body=b"hello")
    client = aws.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="g")
    return client


def start(sagemaker: Any, *steps: Json, **more: Any) -> str:
    """Create a pipeline of these steps and start it; gives the execution's ARN."""
    told = {"PipelineName": "p", "PipelineDefinition": definition(*steps), "RoleArn": ROLE}
    sagemaker.create_pipeline(**told)
    return begin(sagemaker, **more)


def begin(sagemaker: Any, **more: Any) -> str:
    told: Json = {"PipelineName": "p", "PipelineParameters": [{"Name": "Word", "Value": "x"}]} | more
    return str(sagemaker.start_pipeline_execution(**told)["PipelineExecutionArn"])


def steps_of(sagemaker: Any, arn: str) -> dict[str, Json]:
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {one["StepName"]: one for one in listed["PipelineExecutionSteps"]}


def test_an_execution_really_runs_its_steps(aws: StandIn, sagemaker: Any) -> None:
    # Steps begin when what they refer to is there, in whatever order they are written.
    arn = start(sagemaker, condition("Decide", get("Parameters.Least")), training("Train"), processing("Count"))
    assert aws.executions.wait(arn) == "Succeeded"
    steps = steps_of(sagemaker, arn)
    assert {name: one["StepStatus"] for name, one in steps.items()} == dict.fromkeys(
        ("Count", "Train", "Decide", "Approve"), "Succeeded"
    )
    assert steps["Decide"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert steps["Count"]["EndTime"] <= steps["Train"]["StartTime"]

    package = sagemaker.describe_model_package(ModelPackageName=steps["Approve"]["Metadata"]["RegisterModel"]["Arn"])
    assert package["CustomerMetadataProperties"]["said"] == f"counted {ROLE}"
    s3 = aws.client("s3")
    archive = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    content = s3.get_object(Bucket=BUCKET, Key=archive.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        weights = tar.extractfile("weights.txt")
        assert weights is not None
        assert weights.read() == b"xxxxx"

    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    trained = sagemaker.describe_training_job(TrainingJobName=job)
    assert (trained["TrainingJobStatus"], trained["ModelArtifacts"]["S3ModelArtifacts"]) == ("Completed", archive)
    logs = aws.client("logs")
    stream = logs.describe_log_streams(logGroupName="/aws/sagemaker/ProcessingJobs")["logStreams"][0]["logStreamName"]
    (event,) = logs.get_log_events(logGroupName="/aws/sagemaker/ProcessingJobs", logStreamName=stream)["events"]
    assert event["message"] == "counting"


def test_a_condition_that_does_not_hold_takes_the_other_branch(aws: StandIn, sagemaker: Any) -> None:
    arn = start(sagemaker, processing("Count"), training("Train"), condition("Decide", 6))
    assert aws.executions.wait(arn) == "Succeeded"
    assert list(steps_of(sagemaker, arn)) == ["Count", "Train", "Decide", "Reject"]


def test_a_failed_step_says_why_and_may_be_tried_again(aws: StandIn, sagemaker: Any) -> None:
    broken = (
        "import os, pathlib\n"
        "base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        "(base / 'checkpoints' / 'last').write_text('7')\n"
        "(base / 'output' / 'failure').write_text('the labels are wrong')\n"
        "exit(3)"
    )
    kept = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints"}}
    arn = start(sagemaker, processing("Count"), training("Train", broken, **kept))
    assert aws.executions.wait(arn) == "Failed"
    steps = steps_of(sagemaker, arn)
    assert steps["Train"]["FailureReason"] == "ClientError: AlgorithmError: the labels are wrong, exit code: 3"
    found = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert found["FailureReason"] == "Step failure: One or multiple steps failed."
    assert aws.client("s3").get_object(Bucket=BUCKET, Key="checkpoints/last")["Body"].read() == b"7"

    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert aws.executions.wait(arn) == "Failed"
    again = steps_of(sagemaker, arn)
    assert again["Count"]["StartTime"] == steps["Count"]["StartTime"]
    assert again["Train"]["StartTime"] > steps["Train"]["StartTime"]


def test_what_a_test_lets_fail_fails(aws: StandIn, sagemaker: Any) -> None:
    aws.executions.fail_step("Count", "ClientError: no permission to read")
    arn = start(sagemaker, processing("Count"), training("Train"))
    assert aws.executions.wait(arn) == "Failed"
    assert {name: one["FailureReason"] for name, one in steps_of(sagemaker, arn).items()} == {
        "Count": "ClientError: no permission to read"
    }


@pytest.mark.parametrize("hanging", [True, False], ids=["hanging", "running"])
def test_an_execution_is_stopped_with_what_it_runs(aws: StandIn, sagemaker: Any, hanging: bool) -> None:
    if hanging:
        aws.executions.hang("Count")
    arn = start(sagemaker, processing("Count", "import time; time.sleep(60)"))
    wait_until(lambda: bool(steps_of(sagemaker, arn)), "no step begins")
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert aws.executions.wait(arn) == "Stopped"
    assert steps_of(sagemaker, arn)["Count"]["StepStatus"] == "Stopped"
    with pytest.raises(ClientError, match="cannot be stopped"):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)


def test_a_spot_instance_that_is_taken_away_begins_anew_with_its_checkpoints(aws: StandIn, sagemaker: Any) -> None:
    patient = (
        "import os, pathlib, time\n"
        "base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        "last = base / 'checkpoints' / 'last'\n"
        "if last.exists():\n"
        "    (base / 'model' / 'epoch').write_text(last.read_text())\n"
        "    raise SystemExit\n"
        "last.write_text('7')\n"
        "(base / 'model' / 'begun').touch()\n"
        "time.sleep(60)"
    )
    kept = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints"}}
    arn = start(sagemaker, processing("Count"), training("Train", patient, **kept))
    begun = f"pipelines-{arn[-12:]}-Train-*/opt/ml/model/begun"
    wait_until(lambda: any((aws.folder / "jobs").glob(begun)), "the training does not begin")
    aws.executions.interrupt("Train")
    assert aws.executions.wait(arn) == "Succeeded"


def test_executions_are_listed_newest_first_in_pages(aws: StandIn, sagemaker: Any) -> None:
    aws.executions.hang("Count")
    start(sagemaker, processing("Count"), PipelineExecutionDisplayName="run-0")
    for number in (1, 2):
        begin(sagemaker, PipelineExecutionDisplayName=f"run-{number}", ClientRequestToken=f"{number}" * 32)
    again = begin(sagemaker, PipelineExecutionDisplayName="run-2", ClientRequestToken="2" * 32)
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName="p", PaginationConfig={"PageSize": 2}
    )
    listed = [one for page in pages for one in page["PipelineExecutionSummaries"]]
    assert [one["PipelineExecutionDisplayName"] for one in listed] == ["run-2", "run-1", "run-0"]
    assert listed[0]["PipelineExecutionArn"] == again
    assert {one["PipelineExecutionStatus"] for one in listed} == {"Executing"}


def test_what_cannot_be_read_is_refused(aws: StandIn, sagemaker: Any) -> None:
    start(sagemaker, processing("Count"))
    for text, said in (
        ("this is not json", "It is no JSON"),
        (definition(), "has no Steps"),
        (definition(processing("Count"), processing("Count")), "must be there and differ"),
        (definition(training("Train")), "refers to a step that is not there: Count"),
        (definition(register("Register", "Approved")), "refers to a step that is not there"),
    ):
        with pytest.raises(ClientError, match=said):
            sagemaker.update_pipeline(PipelineName="p", PipelineDefinition=text)
    for parameters, said in (
        ([{"Name": "Word", "Value": "x"}, {"Name": "Wrod", "Value": "y"}], r"\['Wrod'\] are not defined"),
        ([], r"\['Word'\] have neither"),
        ([{"Name": "Word", "Value": "x"}, {"Name": "Least", "Value": "few"}], "Least is no Integer"),
    ):
        with pytest.raises(ClientError, match=said):
            begin(sagemaker, PipelineParameters=parameters)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"Name": "Tune", "Type": "Tuning", "Arguments": {}}, "runs no steps of type Tuning"),
        ({"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "too few"}}, "too few"),
        (processing("Count") | {"Arguments": {}}, 'Missing required parameter in input: "RoleArn"'),
    ],
    ids=["unknown", "fail", "malformed"],
)
def test_a_step_that_cannot_run_fails_with_its_reason(aws: StandIn, sagemaker: Any, step: Json, said: str) -> None:
    arn = start(sagemaker, step)
    assert aws.executions.wait(arn) == "Failed"
    assert said in steps_of(sagemaker, arn)[step["Name"]]["FailureReason"]


def test_an_input_that_is_not_there_fails_the_job(aws: StandIn, sagemaker: Any) -> None:
    aws.client("s3").delete_object(Bucket=BUCKET, Key="in/text.txt")
    arn = start(sagemaker, processing("Count"))
    assert aws.executions.wait(arn) == "Failed"
    assert "No S3 objects found" in steps_of(sagemaker, arn)["Count"]["FailureReason"]


def test_an_event_starts_an_execution_with_its_parameters(aws: StandIn, sagemaker: Any) -> None:
    aws.executions.hang("Count")
    sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=definition(processing("Count")), RoleArn=ROLE)
    events = aws.client("events")
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["team"]}))
    given = {"PipelineParameterList": [{"Name": "Word", "Value": "y"}]}
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p"
    events.put_targets(
        Rule="r", Targets=[{"Id": "p", "Arn": arn, "RoleArn": ROLE, "SageMakerPipelineParameters": given}]
    )
    events.put_events(Entries=[{"Source": "team", "DetailType": "said", "Detail": "{}"}])
    aws.events.settle()
    (execution,) = sagemaker.list_pipeline_executions(PipelineName="p")["PipelineExecutionSummaries"]
    told = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
    assert {"Name": "Word", "Value": "y"} in told["PipelineParameters"]


def test_an_execution_tells_how_it_stands(aws: StandIn, sagemaker: Any) -> None:
    sqs, events = aws.client("sqs"), aws.client("events")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    kind = "SageMaker Model Building Pipeline Execution Status Change"
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["aws.sagemaker"], "detail-type": [kind]}))
    events.put_targets(Rule="r", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:eu-west-1:123456789012:q"}])
    aws.executions.fail_step("Count", "no")
    aws.executions.wait(start(sagemaker, processing("Count"), PipelineExecutionDisplayName="run-1"))
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    told = [json.loads(one["Body"])["detail"] for one in messages]
    assert [one["currentPipelineExecutionStatus"] for one in told] == ["Executing", "Failed"]
    assert told[1]["previousPipelineExecutionStatus"] == "Executing"


@pytest.mark.parametrize(("times", "status"), [(2, "Succeeded"), (3, "Failed")], ids=["enough", "too few"])
def test_a_step_is_tried_again_as_its_policies_say(aws: StandIn, sagemaker: Any, times: int, status: str) -> None:
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 2, "IntervalSeconds": 60}
    aws.executions.fail_step("Count", "ClientError: no instances", times, kind="SageMaker.CAPACITY_ERROR")
    arn = start(sagemaker, processing("Count", RetryPolicies=[policy]))
    assert aws.executions.wait(arn) == status
    assert steps_of(sagemaker, arn)["Count"]["AttemptCount"] == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"OutputDataConfig": {}}, 'Missing required parameter in OutputDataConfig: "S3OutputPath"'),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 60}}, "only for managed spot training"),
    ],
    ids=["shape", "spot"],
)
def test_a_request_that_sagemaker_would_refuse_fails_the_step(
    aws: StandIn, sagemaker: Any, more: Json, said: str
) -> None:
    arn = start(sagemaker, processing("Count"), training("Train", **more))
    assert aws.executions.wait(arn) == "Failed"
    assert said in steps_of(sagemaker, arn)["Train"]["FailureReason"]
