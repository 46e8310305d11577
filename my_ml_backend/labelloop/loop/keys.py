"""The names of everything LabelLoop keeps in Redis. All of it may be wiped at any time (docs/architecture.md).

labelloop:projects:<instance>      hash     project id -> address under which Label Studio calls this backend
labelloop:<project>:changed        sorted   annotation or task -> moment its label last changed
labelloop:<project>:wake           string   moment of the next scheduled look at the policy
labelloop:<project>:again          string   why one more run is wanted after the one in progress
labelloop:<project>:job            string   id of the last retrain job
labelloop:<project>:lease          string   token of the worker that has the project
labelloop:<project>:announced      string   cached answer of /setup
labelloop:<project>:progress       string   JSON: what the worker is doing now
labelloop:<project>:note           hash     missing, trouble, unpredicted: what status shows
labelloop:<project>:seen           string   JSON: Label Studio's counters at the last look
labelloop:<project>:prelabel       string   set while a prelabel job waits
labelloop:values:<project id>      hash     what LabelLoop.get and LabelLoop.set keep
"""

from labelloop.types import ProjectKey


def of(project: ProjectKey, name: str) -> str:
    """Name one of a project's keys."""
    return f"labelloop:{project}:{name}"


def projects(instance: str) -> str:
    """Name the hash of an instance's projects."""
    return f"labelloop:projects:{instance}"


def values(project_id: str) -> str:
    """Name the hash behind ``LabelLoop.get`` and ``set``."""
    return f"labelloop:values:{project_id}"


STATE = ("changed", "wake", "again", "job", "progress", "note", "seen", "prelabel", "announced")
"""What ``forget`` deletes of a project; the lease stays with whoever holds it."""
