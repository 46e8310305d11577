"""SageMaker's model registry: a model package group for each project, a package for each version (docs/aws.md)."""

import json
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from labelloop import __version__
from labelloop.cloud.aws.account import Account, asking
from labelloop.cloud.aws.archives import put_archive
from labelloop.cloud.aws.groups import require_group
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.base import Approval, Package, Publication
from labelloop.cloud.names import group_of
from labelloop.errors import CloudMissing
from labelloop.models.bundle import bundle_digest
from labelloop.types import Json, ProjectKey

CONTENT_TYPES = ("image/jpeg", "image/png", "application/json")
"""What the inference image is asked with; it answers in JSON (docs/inference.md)."""

_WORDS: Mapping[Approval, str] = {
    "approved": "Approved",
    "rejected": "Rejected",
    "pending": "PendingManualApproval",
}
_APPROVALS: Mapping[str, Approval] = {word: status for status, word in _WORDS.items()}
_TOLD = re.compile(r"LabelLoop: (\w+)\b")

_NO_RUN = "none"
"""What a pipeline says of a run that nobody named."""

_MOST_LISTED = 100
"""Packages in one answer: the most that SageMaker gives."""

_LONGEST_REASON, _LONGEST_VALUE = 1024, 256
"""By botocore's shapes: ApprovalDescription, CustomerMetadataValue."""


class SageMakerRegistry:
    """The registry of one account and region. Each project's group is called ``prefix`` and by the project's key.

    ``image`` is what serves the packages' models, which are handed over in ``folder``, as are their metrics and
    reports. Every method raises CloudError or one of its kinds. Safe to share between threads.
    """

    def __init__(self, account: Account, prefix: str, image: str, folder: Folder) -> None:
        self.account, self.prefix, self.image, self.folder = account, prefix, image, folder
        self.name = f"sagemaker://{prefix}"

    @property
    def _client(self) -> Any:
        return self.account.client("sagemaker")

    def check(self) -> str:
        """Say how many groups there are; raises CloudError where packages or their files could not be written."""
        with asking(f"the model package groups of {self.account.region}"):
            pages = self._client.get_paginator("list_model_package_groups").paginate(NameContains=self.prefix)
            groups = sum(len(page["ModelPackageGroupSummaryList"]) for page in pages)
        self.folder.check()
        told = "1 model package group" if groups == 1 else f"{groups} model package groups"
        return f"{self.name} in {self.account.region}: {told}, files in {self.folder.uri}"

    def packages(self, project: ProjectKey) -> list[Package]:
        """List the packages of the project's group, oldest first; empty where there is no group."""
        group = group_of(self.prefix, project)
        try:
            with asking(f"the packages of group {group}"):
                pages = self._client.get_paginator("list_model_packages").paginate(
                    ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Ascending", MaxResults=_MOST_LISTED
                )
                return [_listed(one) for page in pages for one in page["ModelPackageSummaryList"]]
        except CloudMissing:
            return []

    def describe(self, name: str) -> Package:
        """Say all that is known of a package, by its ARN; raises CloudMissing."""
        with asking(f"package {name}"):
            found = self._client.describe_model_package(ModelPackageName=name)
        metadata = found.get("CustomerMetadataProperties") or {}
        told = _TOLD.match(found.get("ApprovalDescription", ""))
        # A pipeline says nothing of why, but what it registered the package as.
        said = told[1] if told else metadata.get("registered_as", _WORDS["pending"] if "version" in metadata else "")
        changed = found.get("LastModifiedTime") or found["CreationTime"]
        # A pipeline that was begun by hand was given no key: its own name for the run is the same.
        run = metadata.get("run", "")
        run = metadata.get("key", "") if run == _NO_RUN else run
        return Package(
            name,
            _APPROVALS.get(found.get("ModelApprovalStatus", ""), ""),
            metadata.get("version", ""),
            run,
            _APPROVALS.get(said, ""),
            changed.astimezone(UTC).isoformat(timespec="microseconds"),
        )

    def add(self, publication: Publication) -> Package:
        """Hand over the version's files, and make its package, pending; the group too, where there is none."""
        group, record = group_of(self.prefix, publication.project), publication.record
        files = self._files(publication)
        require_group(self.account, group)
        quality = {"ContentType": "application/json", "S3Uri": files["metrics"]}
        specification = {
            "Containers": [{"Image": self.image, "ModelDataUrl": files["model"]}],
            "SupportedContentTypes": list(CONTENT_TYPES),
            "SupportedResponseMIMETypes": ["application/json"],
        }
        request = {
            "ModelPackageGroupName": group,
            "ModelPackageDescription": _line(f"{record.version} of project {publication.project}: {record.verdict}"),
            "ModelApprovalStatus": _WORDS["pending"],
            "InferenceSpecification": specification,
            "ModelMetrics": {"ModelQuality": {"Statistics": quality}},
            "CustomerMetadataProperties": _metadata(publication, files.get("report", "")),
        }
        with asking(f"a package of {record.version} in group {group}"):
            made = self._client.create_model_package(**request)
        return Package(made["ModelPackageArn"], "pending", record.version, record.run, "pending")

    def approve(self, package: Package, status: Approval, reason: str) -> None:
        """Say of a package whether it is approved, and why; raises CloudMissing."""
        with asking(f"the approval of package {package.name}"):
            self._client.update_model_package(
                ModelPackageArn=package.name,
                ModelApprovalStatus=_WORDS[status],
                ApprovalDescription=_line(f"LabelLoop: {_WORDS[status]}. {reason}"),
            )

    def crown(self, package: Package) -> None:
        """Do nothing: SageMaker marks no package before others."""

    def _files(self, publication: Publication) -> dict[str, str]:
        """Hand over the archive, the metrics and the report, and give their addresses."""
        project, record = publication.project, publication.record
        # The same bundle always lies in the same folder.
        place = self.folder.below(f"models/{project}/{record.version}-{bundle_digest(publication.bundle)[:16]}")
        metrics = json.dumps(record.metrics.get("test") or {}, indent=2).encode()
        found = {"model": put_archive(place, publication.bundle, record.version)}
        found["metrics"] = place.put("metrics.json", metrics, "application/json")
        if publication.report:
            found["report"] = place.put("report.html", publication.report, "text/html")
        return found


def _listed(told: Json) -> Package:
    return Package(told["ModelPackageArn"], _APPROVALS.get(told.get("ModelApprovalStatus", ""), ""))


def _metadata(publication: Publication, report: str) -> dict[str, str]:
    """Say where a version comes from, in at most 50 pairs of text; what is not known is left out."""
    record = publication.record
    told = {
        "version": record.version,
        "run": record.run,
        "project": str(publication.project),
        "manifest": publication.manifest,
        "parent": record.parent or "",
        "recipe": record.recipe,
        "created": record.created,
        "labelloop": __version__,
        "report": report,
    }
    return {name: _value(text) for name, text in told.items() if text}


def _value(text: str) -> str:
    """Spell a text as a value of metadata may be: letters, digits, spaces and _.:/=+-@."""
    return re.sub(r"[^\w .:/=+\-@]", "_", text)[:_LONGEST_VALUE]


def _line(text: str) -> str:
    """Spell a text in one line, as long as a description may be."""
    return " ".join(text.split())[:_LONGEST_REASON]
