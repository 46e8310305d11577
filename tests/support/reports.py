"""What the background does about reports, done in the process of a test."""

from labelloop.loop.hub import Hub
from labelloop.loop.report_writing import write_reports
from labelloop.types import ProjectKey


def reported(hub: Hub, project: ProjectKey, version: str = "v1") -> str:
    """Have all reports written that are due on this machine, and read the one of a version."""
    write_reports(hub, project)
    return hub.versions(project).read_report(version).decode()
