"""Where people read what a job of SageMaker wrote."""

from urllib.parse import quote

_GROUPS = {
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "training-job": "/aws/sagemaker/TrainingJobs",
    "transform-job": "/aws/sagemaker/TransformJobs",
}
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def log_link(job: str) -> str:
    """Give the console's address of a job's logs, by its ARN; empty for what writes none."""
    parts = job.split(":")
    kind, _, name = parts[-1].partition("/")
    if len(parts) != 6 or kind not in _GROUPS or parts[1] not in _CONSOLES:
        return ""
    region, console = parts[3], _CONSOLES[parts[1]]
    # Behind its # the console wants names quoted twice, and $ for every per cent sign.
    group = quote(quote(_GROUPS[kind], safe=""), safe="").replace("%", "$")
    streams = f"$3FlogStreamNameFilter$3D{quote(name)}"
    return f"https://{region}.{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{streams}"
