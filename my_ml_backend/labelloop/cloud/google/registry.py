"""Vertex AI's model registry: a model for each project, a version of it for each of ours (docs/google-cloud.md).

Vertex AI knows no approval: a label of the version says it, and the alias ``champion`` leads to the champion.
"""

import json
import re
from collections.abc import Mapping
from typing import Literal, get_args

from labelloop.cloud.base import Approval, Package, Publication
from labelloop.cloud.google.models import PROJECT, STATUS, VERSION, Models, ModelVersion, label
from labelloop.types import ProjectKey

CHAMPION = "champion"
RUN = "labelloop-run"
_APPROVALS: Mapping[str, Approval] = {status: status for status in get_args(Approval)}
_TOLD = re.compile(r"LabelLoop: (\w+)\b")
_LONGEST_SAID = 2000


class VertexRegistry:
    """The registry of one project of Google Cloud and location. Raises CloudError or one of its kinds.

    A version of a model is a package where it has the label ``labelloop-status``: one that a deployer has uploaded has
    none yet. Safe to share between threads.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.name = f"vertex://{models.google.project}/{models.google.location}"

    def check(self) -> str:
        """Say how many models there are; raises CloudError where versions or their files could not be written."""
        google, query = self.models.google, {"filter": f"labels.{PROJECT}:*"}
        told = f"the models of {google.location}"
        found = list(google.listing(f"{google.parent}/models", "models", query=query, what=told))
        count = sum(PROJECT in (one.get("labels") or {}) for one in found)
        self.models.folder.check()
        return f"{self.name}: {count} {'model' if count == 1 else 'models'} of ours, files in {self.models.folder.uri}"

    def packages(self, project: ProjectKey) -> list[Package]:
        """List the versions that were registered, oldest first."""
        found = self.models.versions(project)
        return [Package(one.name, _status(one), crowned=_crowned(one)) for one in found if STATUS in one.labels]

    def describe(self, name: str) -> Package:
        """Say all that is known of a version, by its resource name; raises CloudMissing."""
        found = self.models.look(name)
        version = found.labels.get(VERSION) or next((one for one in found.aliases if re.fullmatch(r"v\d+", one)), "")
        return Package(
            name,
            _status(found),
            version,
            found.labels.get(RUN, ""),
            _told(found),
            found.changed,
            _crowned(found),
        )

    def add(self, publication: Publication) -> Package:
        """Upload the version, unless a deployer has, and register it, pending."""
        record = publication.record
        found = self.models.ensure(publication.project, record.version, publication.bundle)
        told = self._files(publication)
        labels = {STATUS: "pending", RUN: record.run, VERSION: record.version, "labelloop-recipe": record.recipe}
        labels |= {"labelloop-parent": record.parent or "", "labelloop-manifest": publication.manifest}
        self.models.say(
            found,
            {name: label(text) for name, text in labels.items() if text},
            _said("pending", f"{record.version} of project {publication.project}: {record.verdict}. {told}"),
        )
        return Package(found.name, "pending", record.version, record.run, "pending")

    def approve(self, package: Package, status: Approval, reason: str) -> None:
        """Say of a version whether it is approved, and why; raises CloudMissing."""
        self.models.say(self.models.look(package.name), {STATUS: status}, _said(status, reason))

    def crown(self, package: Package) -> None:
        """Let the alias ``champion`` lead to a version, and what is asked of the model itself as well."""
        self.models.call(package.name, (CHAMPION, "default"))

    def _files(self, publication: Publication) -> str:
        """Hand over metrics and report, and say where they are."""
        project, record = publication.project, publication.record
        place = self.models.folder.below(f"models/{project}/{record.version}-told")
        metrics = json.dumps(record.metrics.get("test") or {}, indent=2).encode()
        told = [place.put("metrics.json", metrics, "application/json")]
        if publication.report:
            told.append(place.put("report.html", publication.report, "text/html"))
        return ", ".join(told)


def _crowned(version: ModelVersion) -> bool:
    return CHAMPION in version.aliases


def _status(version: ModelVersion) -> Approval | Literal[""]:
    """Read a version's status: who lets ``champion`` lead to it approves it, if the label is as we have put it."""
    status: Approval | Literal[""] = _APPROVALS.get(version.labels.get(STATUS, ""), "")
    return "approved" if _crowned(version) and status in ("", _told(version)) else status


def _told(version: ModelVersion) -> Approval | Literal[""]:
    told = _TOLD.match(version.said)
    return _APPROVALS.get(told[1], "") if told else ""


def _said(status: Approval, reason: str) -> str:
    return " ".join(f"LabelLoop: {status}. {reason}".split())[:_LONGEST_SAID]
