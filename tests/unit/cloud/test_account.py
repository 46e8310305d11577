"""What AWS's client library raises, in our words."""

import pytest
from botocore import exceptions

from labelloop.cloud.aws.account import asking
from labelloop.errors import CloudAway, CloudDenied, CloudError


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (exceptions.NoCredentialsError(), CloudDenied, "no AWS credentials were found"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="key"), CloudDenied, "no AWS credentials"),
        (exceptions.CredentialRetrievalError(provider="p", error_msg="m"), CloudDenied, "cannot be renewed"),
        (exceptions.UnauthorizedSSOTokenError(), CloudDenied, "cannot be renewed"),
        (exceptions.LoginRefreshRequired(), CloudDenied, "cannot be renewed"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="m"), CloudDenied, "cannot be renewed"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x?Signature=s"), CloudAway, "could not be reached"),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), CloudAway, "could not be reached"),
        (exceptions.ParamValidationError(report="Name is missing"), CloudError, "Name is missing"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_the_client_raises_is_away_denied_or_wrong(error: Exception, kind: type[CloudError], says: str) -> None:
    with pytest.raises(CloudError, match=f"^bucket b: .*{says}") as found, asking("bucket b"):
        raise error
    assert type(found.value) is kind
    assert "Signature" not in str(found.value)


@pytest.mark.parametrize(
    ("operation", "action"),
    [("HeadBucket", "s3:ListBucket"), ("HeadObject", "s3:GetObject"), ("PutObject", "s3:PutObject")],
)
def test_a_refusal_without_words_names_the_action_all_the_same(operation: str, action: str) -> None:
    told = {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    says = f"^s3://b/a: AWS answered 403 .* let the role .* do {action} on it$"
    with pytest.raises(CloudDenied, match=says), asking("s3://b/a"):
        raise exceptions.ClientError(told, operation)
