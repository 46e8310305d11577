"""Lambda functions in the stand-in of AWS really run, as boto3 and HTTP see it."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.aws import StandIn

RUNTIME = """
import json, os, sys, urllib.request
runtime = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(runtime + "next") as told:
        id, event = told.headers["Lambda-Runtime-Aws-Request-Id"], json.load(told)
    if event.get("end"):
        sys.exit(3)
    if event.get("wait"):
        import time; time.sleep(30)
    if "rawPath" in event:
        body = event["rawPath"] + event["body"]
        said = {"statusCode": 201, "headers": {"X-Color": os.environ["COLOR"]}, "body": body}
    else:
        said = {"color": os.environ["COLOR"], "event": event}
    word = "error" if event.get("fail") else "response"
    urllib.request.urlopen(runtime + id + "/" + word, json.dumps(said).encode()).close()
"""


@pytest.fixture
def functions(aws: StandIn) -> Any:
    """A client; there is a function ``f``, version 1 of it blue and version 2 red."""
    client = aws.client("lambda")
    client.create_function(
        FunctionName="f",
        PackageType="Image",
        Code={"ImageUri": "serve:1"},
        Role=aws.role("f"),
        ImageConfig={"EntryPoint": ["python", "-c"], "Command": [RUNTIME]},
        Environment={"Variables": {"COLOR": "blue"}},
        Timeout=5,
    )
    client.publish_version(FunctionName="f")
    client.update_function_configuration(FunctionName="f", Environment={"Variables": {"COLOR": "red"}})
    client.publish_version(FunctionName="f")
    return client


def ask(functions: Any, event: Any, **more: Any) -> Any:
    answer = functions.invoke(FunctionName="f", Payload=json.dumps(event).encode(), **more)
    return json.loads(answer["Payload"].read())


def test_each_version_answers_with_its_own_environment(aws: StandIn, functions: Any) -> None:
    assert ask(functions, {"a": 1}, Qualifier="1") == {"color": "blue", "event": {"a": 1}}
    assert ask(functions, {}, Qualifier="2")["color"] == "red"
    assert ask(functions, {})["color"] == "red"
    with pytest.raises(ClientError, match="Function not found"):
        ask(functions, {}, Qualifier="7")


def test_an_alias_shares_its_traffic(aws: StandIn, functions: Any) -> None:
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig=weights)
    assert [ask(functions, {}, Qualifier="live")["color"] for _ in range(8)] == ["blue", "blue", "blue", "red"] * 2
    functions.update_alias(FunctionName="f", Name="live", FunctionVersion="2", RoutingConfig={})
    assert ask(functions, {}, Qualifier="live")["color"] == "red"
    assert aws.functions.invoked[-1] == ("f", "2")


def test_a_function_that_fails_or_ends_says_so(aws: StandIn, functions: Any) -> None:
    failed = functions.invoke(FunctionName="f", Payload=b'{"fail": true}')
    assert failed["FunctionError"] == "Unhandled"
    ended = functions.invoke(FunctionName="f", Payload=b'{"end": true}')
    assert json.loads(ended["Payload"].read())["errorMessage"] == "Runtime exited with error: exit status 3"
    assert ask(functions, {})["color"] == "red"


def test_a_function_that_takes_too_long_is_ended(aws: StandIn, functions: Any) -> None:
    ask(functions, {})
    functions.update_function_configuration(FunctionName="f", Timeout=1)
    late = ask(functions, {"wait": True})
    assert late == {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 1.00 seconds"}


def test_a_function_has_a_url(aws: StandIn, functions: Any) -> None:
    functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    url = functions.create_function_url_config(FunctionName="f", Qualifier="live", AuthType="NONE")["FunctionUrl"]
    assert functions.get_function_url_config(FunctionName="f", Qualifier="live")["FunctionUrl"] == url
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    functions.add_permission(
        FunctionName="f",
        StatementId="all",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    asked = urllib.request.Request(f"{url}predict?a=1", b"hello", {"Content-Type": "text/plain"})
    with urllib.request.urlopen(asked) as answer:
        assert (answer.status, answer.headers["X-Color"], answer.read()) == (201, "blue", b"/predicthello")
    functions.delete_function_url_config(FunctionName="f", Qualifier="live")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url)


def test_an_event_reaches_a_function(aws: StandIn, functions: Any) -> None:
    events = aws.client("events")
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["team"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "f", "Arn": "arn:aws:lambda:eu-west-1:123456789012:function:f:1"}])
    events.put_events(Entries=[{"Source": "team", "DetailType": "said", "Detail": '{"a": 1}'}])
    aws.events.settle()
    assert aws.functions.invoked == [("f", "1")]


def test_lambdas_own_runtime_client_is_spoken_to(aws: StandIn, functions: Any) -> None:
    functions.update_function_configuration(
        FunctionName="f", ImageConfig={"EntryPoint": ["python", "-m", "awslambdaric"], "Command": ["operator.is_not"]}
    )
    # What this handler makes of an event and a context: that they are not the same.
    assert ask(functions, {}) is True
    functions.update_function_configuration(
        FunctionName="f", ImageConfig={"EntryPoint": ["python", "-m", "awslambdaric"], "Command": ["operator.nothing"]}
    )
    assert "Unhandled" in functions.invoke(FunctionName="f")["FunctionError"]
