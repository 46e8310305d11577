"""``labelloop google``: what this machine does and watches on Google Cloud."""

import click

from labelloop.cli.cloud_deploy import commands


@click.group()
def google() -> None:
    """Bring versions to Vertex AI, and see how all of it stands on Google Cloud."""


for command in commands.commands.values():
    google.add_command(command)
