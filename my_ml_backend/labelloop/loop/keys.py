"""The names of everything LabelLoop keeps in Redis. All of it may be wiped at any time (docs/architecture.md).

labelloop:projects:<instance>      hash     project id -> address under which Label Studio calls this backend
labelloop:<project>:changed        sorted   annotation or task -> moment its label last changed
labelloop:<project>:wake           string   moment of the next scheduled look at the policy
labelloop:<project>:again          string   JSON: the run wanted after the one in progress
labelloop:<project>:begun          string   JSON: the run in progress, left behind by a killed worker
labelloop:<project>:failures       hash     how many there were in a row, since and until when nothing is started, why
labelloop:<project>:died           string   how a job's process ended, until the run it made notes it
labelloop:<project>:gone           string   set while a project that Label Studio does not have is not asked for again
labelloop:<project>:job            string   id of the last retrain job
labelloop:<project>:deploy         string   id of the last deploy job
labelloop:<project>:adding         string   held for as long as one of these jobs is added
labelloop:<project>:lease          string   token of the worker that has the project
labelloop:<project>:announced      string   cached answer of /setup
labelloop:<project>:served         hash     endpoint that stands alone -> version it answered with last
labelloop:<project>:progress       string   JSON: what the worker is doing now
labelloop:<project>:note           hash     missing, trouble, sweep: what status shows; unpredicted: tasks may be
labelloop:<project>:seen           string   JSON: Label Studio's counters at the last look
labelloop:<project>:prelabel       string   set while a prelabel job waits
labelloop:values:<instance>:<id>   hash     what LabelLoop.get and LabelLoop.set keep of a project
labelloop:sweep                    string   set until the next sweep may be asked for
labelloop:sweep:job                string   id of the last sweep
labelloop:started                  string   moment at which a worker started last
"""

from labelloop.types import ProjectKey

SWEEP = "labelloop:sweep"
SWEEP_JOB = "labelloop:sweep:job"
STARTED = "labelloop:started"


def of(project: ProjectKey, name: str) -> str:
    """Name one of a project's keys."""
    return f"labelloop:{project}:{name}"


def projects(instance: str) -> str:
    """Name the hash of an instance's projects."""
    return f"labelloop:projects:{instance}"


def values(project: ProjectKey) -> str:
    """Name the hash behind ``LabelLoop.get`` and ``set``; a project of number 0 is that of an object bound to none."""
    return f"labelloop:values:{project.instance}:{project.id or ''}"


STATE = (
    "changed",
    "wake",
    "again",
    "begun",
    "failures",
    "died",
    "job",
    "deploy",
    "progress",
    "note",
    "seen",
    "prelabel",
    "postponed",
    "policy",
    "announced",
    "served",
)
"""What ``forget`` deletes of a project; the lease stays with whoever holds it."""
