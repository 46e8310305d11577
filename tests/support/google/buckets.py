"""Buckets of Cloud Storage as they stand: objects with generations, conditions, retention, permissions."""

import itertools
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import md5

from labelloop.types import Json


class Refusal(Exception):
    """Cloud Storage says no: an HTTP status, the reason as its errors have it, and its sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass(frozen=True, slots=True)
class Object:
    """One generation of an object."""

    bucket: str
    name: str
    content: bytes
    generation: int
    made: datetime
    media_type: str = "application/octet-stream"
    metadata: Json = field(default_factory=dict)

    @property
    def resource(self) -> Json:
        """What the JSON API says of it; numbers of 64 bits are strings there."""
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.media_type,
            "size": str(len(self.content)),
            "md5Hash": b64encode(md5(self.content, usedforsecurity=False).digest()).decode(),
            "etag": f"C{self.generation}=",
            "timeCreated": _spelled(self.made),
            "updated": _spelled(self.made),
            "storageClass": "STANDARD",
            **({"metadata": self.metadata} if self.metadata else {}),
        }


@dataclass
class Bucket:
    """One bucket, with uniform access; nothing younger than ``retention`` seconds may be changed or deleted."""

    name: str
    location: str = "EUROPE-WEST4"
    retention: int = 0
    objects: dict[str, Object] = field(default_factory=dict)

    @property
    def resource(self) -> Json:
        """What the JSON API says of it."""
        kept = {"retentionPeriod": str(self.retention), "isLocked": True}
        return {
            "kind": "storage#bucket",
            "id": self.name,
            "name": self.name,
            "location": self.location,
            "locationType": "region",
            "storageClass": "STANDARD",
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            **({"retentionPolicy": kept} if self.retention else {}),
        }


class Buckets:
    """All buckets, by their names. Every step is atomic; ``denied`` are permissions that the caller lacks.

    ``careless``: conditions are passed over, as by some that stand in for Cloud Storage.
    ``changed`` is told what became of an object: ``OBJECT_FINALIZE`` or ``OBJECT_DELETE``, and what more is known.
    """

    def __init__(self, denied: set[str] | None = None) -> None:
        self.changed: Callable[[str, Object, dict[str, str]], None] = lambda *_: None
        self.denied = set() if denied is None else denied
        self.careless = False
        self.lock = threading.RLock()
        self._buckets: dict[str, Bucket] = {}
        self._generations = itertools.count(time.time_ns() // 1000)

    def make(self, name: str, location: str = "EUROPE-WEST4", retention: int = 0) -> Bucket:
        """Make a bucket."""
        with self.lock:
            if name in self._buckets:
                raise Refusal(
                    409, "conflict", "Your previous request to create the named bucket succeeded and you own it."
                )
            self._buckets[name] = Bucket(name, location.upper(), retention)
            return self._buckets[name]

    def all(self) -> list[Bucket]:
        """Give them all."""
        return list(self._buckets.values())

    def bucket(self, name: str) -> Bucket:
        """Give one."""
        if name not in self._buckets:
            raise Refusal(404, "notFound", "The specified bucket does not exist.")
        return self._buckets[name]

    def remove(self, name: str) -> None:
        """Delete an empty one."""
        with self.lock:
            if self.bucket(name).objects:
                raise Refusal(409, "conflict", "The bucket you tried to delete is not empty.")
            del self._buckets[name]

    def clear(self) -> None:
        """Forget all of them, and let everything be allowed."""
        with self.lock:
            self._buckets.clear()
            self.denied.clear()
            self.careless = False

    def get(self, bucket: str, name: str) -> Object:
        """Give an object."""
        found = self.bucket(bucket).objects.get(name)
        if found is None:
            raise Refusal(404, "notFound", f"No such object: {bucket}/{name}")
        return found

    def put(self, made: Object, condition: str | None = None, *, ours: bool = False) -> Object:
        """Write an object where its generation is what ``ifGenerationMatch`` says, 0 for none; give it as it is now."""
        with self.lock:
            there = self.bucket(made.bucket).objects.get(made.name)
            self.require(condition, there)
            if not ours:
                self.allow("storage.objects.create")
                if there is not None:
                    self.allow("storage.objects.delete")
                    self._require_free(there)
            now = replace(made, generation=next(self._generations), made=datetime.now(UTC))
            self.bucket(made.bucket).objects[made.name] = now
            replaced = {"overwroteGeneration": str(there.generation)} if there else {}
            if there:
                self.changed("OBJECT_DELETE", there, {"overwrittenByGeneration": str(now.generation)})
            self.changed("OBJECT_FINALIZE", now, replaced)
            return now

    def delete(self, bucket: str, name: str, condition: str | None = None) -> None:
        """Delete an object, on the same condition."""
        with self.lock:
            there = self.get(bucket, name)
            self.require(condition, there)
            self.allow("storage.objects.delete")
            self._require_free(there)
            del self.bucket(bucket).objects[name]
            self.changed("OBJECT_DELETE", there, {})

    def require(self, condition: str | None, there: Object | None) -> None:
        """See to it that ``ifGenerationMatch`` holds."""
        if condition is None or self.careless:
            return
        if not condition.isdigit():
            raise Refusal(400, "invalid", f"Invalid value for ifGenerationMatch: {condition}")
        if int(condition) != (there.generation if there else 0):
            raise Refusal(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")

    def allow(self, permission: str) -> None:
        """Refuse a caller who lacks a permission."""
        if permission in self.denied:
            raise Refusal(
                403,
                "forbidden",
                f"labelloop@shop.iam.gserviceaccount.com does not have {permission} access to the Google Cloud Storage "
                f"{permission.split('.')[1][:-1]}. Permission '{permission}' denied on resource (or it may not exist).",
            )

    def _require_free(self, there: Object) -> None:
        age = (datetime.now(UTC) - there.made).total_seconds()
        if age < self.bucket(there.bucket).retention:
            raise Refusal(
                403,
                "retentionPolicyNotMet",
                f"Object '{there.bucket}/{there.name}' is subject to bucket's retention policy or object retention and "
                "cannot be deleted or overwritten until later.",
            )


def _spelled(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
