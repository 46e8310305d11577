"""``labelloop aws``: what this machine sets up and watches on AWS (docs/aws.md)."""

import click

from labelloop.cli.aws_pipeline import pipeline


@click.group()
def aws() -> None:
    """Set up, start and watch the loop on AWS."""


aws.add_command(pipeline)
