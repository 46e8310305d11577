"""``labelloop aws``: what this machine sets up and watches on AWS (docs/aws.md)."""

import click

from labelloop.cli.aws_deploy import commands
from labelloop.cli.aws_pipeline import pipeline


@click.group()
def aws() -> None:
    """Set up, start and watch the loop on AWS."""


for command in (pipeline, *commands.commands.values()):
    aws.add_command(command)
