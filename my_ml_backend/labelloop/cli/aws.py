"""``labelloop aws``: what this machine sets up and watches on AWS (docs/aws.md)."""

import click

from labelloop.cli.aws_pipeline import pipeline
from labelloop.cli.cloud_deploy import commands


@click.group()
def aws() -> None:
    """Set up, start and watch the loop on AWS."""


for command in (pipeline, *commands.commands.values()):
    aws.add_command(command)
