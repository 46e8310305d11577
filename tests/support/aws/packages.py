"""SageMaker's model registry: what moto forgets of packages, their deletion, and what is told when they change."""

import inspect
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import ModelPackage, sagemaker_backends

from labelloop.types import Json
from support.aws.front import Handler
from support.aws.wire import Call, Refused, invalid

_STATUSES = ("Approved", "Rejected", "PendingManualApproval")
_FIELDS = frozenset(inspect.signature(ModelPackage).parameters)

Told = Callable[[ModelPackage], None]
"""Is told that a package is new, or that its approval changed."""


@dataclass
class Packages:
    """The packages of all regions. Versions are counted here: moto gives the number of one that was deleted again."""

    told: Told
    _tokens: dict[str, str] = field(default_factory=dict)
    _versions: dict[tuple[str, str], int] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {
            "sagemaker:CreateModelPackage": self._create,
            "sagemaker:UpdateModelPackage": self._update,
            "sagemaker:DeleteModelPackage": self._delete,
            "sagemaker:CreateModelPackageGroup": self._create_group,
            "sagemaker:DeleteModelPackageGroup": self._delete_group,
        }

    def forget(self) -> None:
        """Forget everything."""
        self._tokens.clear()
        self._versions.clear()

    def _create(self, call: Call) -> Json:
        """Make a package; the same ClientToken again gives the same one."""
        _check(call.parameters)
        token = str(call.parameters.get("ClientToken") or "")
        with self._lock:
            if not token or token not in self._tokens:
                package = self._made(call)
                backend = _backend(call)
                backend.model_package_name_mapping[package.model_package_name] = package.arn
                backend.model_package_name_mapping[package.arn] = package.arn
                backend.model_packages[package.arn] = package
                self._tokens[token] = package.arn
                self.told(package)
            return {"ModelPackageArn": self._tokens[token]}

    def _made(self, call: Call) -> Any:
        group, name = call.parameters.get("ModelPackageGroupName"), call.parameters.get("ModelPackageName")
        if bool(group) == bool(name):
            raise invalid("Either ModelPackageName or ModelPackageGroupName must be given.")
        version = None
        if group:
            group = group.rpartition("/")[2]
            if group not in _backend(call).model_package_groups:
                raise invalid(f"Model Package Group {call.arn('model-package-group', group)} does not exist.")
            version = self._versions[call.region, group] = self._versions.get((call.region, group), 0) + 1
        given = {_snake(key): value for key, value in call.parameters.items()}
        told = {
            **dict.fromkeys(_FIELDS - {"tags"}),
            **{key: value for key, value in given.items() if key in _FIELDS},
            "model_package_name": group or name,
            "model_package_group_name": group,
            "model_package_version": version,
            "model_package_type": "Versioned" if group else "Unversioned",
            "certify_for_marketplace": False,
            "region_name": call.region,
            "account_id": DEFAULT_ACCOUNT_ID,
        }
        package = ModelPackage(**told)
        package.model_approval_status = told["model_approval_status"] or ("PendingManualApproval" if group else None)
        return package

    def _update(self, call: Call) -> Json:
        """Change what is given, and nothing else."""
        given = call.parameters
        _check(given)
        with self._lock:
            package = _named(call, given["ModelPackageArn"])
            before = package.model_approval_status
            package.model_approval_status = given.get("ModelApprovalStatus", before)
            package.approval_description = given.get("ApprovalDescription", package.approval_description)
            properties = {
                **(package.customer_metadata_properties or {}),
                **(given.get("CustomerMetadataProperties") or {}),
            }
            removed = given.get("CustomerMetadataPropertiesToRemove") or []
            package.customer_metadata_properties = {k: v for k, v in properties.items() if k not in removed}
            package.modifications_done()
            if package.model_approval_status != before:
                self.told(package)
            return {"ModelPackageArn": package.arn}

    def _delete(self, call: Call) -> Json:
        with self._lock:
            package = _named(call, call.parameters["ModelPackageName"])
            del _backend(call).model_packages[package.arn]
            return {}

    def _create_group(self, call: Call) -> None:
        name = call.parameters["ModelPackageGroupName"]
        if name in _backend(call).model_package_groups:
            raise invalid(f"Model Package Group already exists: {call.arn('model-package-group', name)}")

    def _delete_group(self, call: Call) -> Json:
        name, backend = call.parameters["ModelPackageGroupName"].rpartition("/")[2], _backend(call)
        with self._lock:
            if name not in backend.model_package_groups:
                raise invalid(f"ModelPackageGroup {call.arn('model-package-group', name)} does not exist.")
            if any(one.model_package_group_name == name for one in backend.model_packages.values()):
                raise Refused("ConflictException", f"Model Package Group {name} still contains model packages.")
            del backend.model_package_groups[name]
            return {}


def _backend(call: Call) -> Any:
    return sagemaker_backends[DEFAULT_ACCOUNT_ID][call.region]


def _named(call: Call, name: str) -> Any:
    backend = _backend(call)
    package = backend.model_packages.get(backend.model_package_name_mapping.get(name, name))
    if package is None:
        raise invalid(f"ModelPackage {name} does not exist.")
    return package


def _check(given: Json) -> None:
    """Refuse what AWS's limits do."""
    status = given.get("ModelApprovalStatus")
    if status is not None and status not in _STATUSES:
        raise invalid(f"Value '{status}' at 'modelApprovalStatus' must satisfy enum value set: {list(_STATUSES)}")
    properties = given.get("CustomerMetadataProperties") or {}
    if len(properties) > 50:
        raise invalid("customerMetadataProperties must have length less than or equal to 50")
    for key, value in properties.items():
        if not 1 <= len(key) <= 128 or not 1 <= len(value) <= 256:
            raise invalid(f"customerMetadataProperties.{key}: keys have 1 to 128 letters, values 1 to 256")
    if len(given.get("ApprovalDescription") or "") > 1024:
        raise invalid("approvalDescription must have length less than or equal to 1024")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
