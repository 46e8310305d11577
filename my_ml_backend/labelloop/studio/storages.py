"""Label Studio's cloud storages: buckets that it writes annotations to, and makes tasks of (contract, "Storages")."""

import re

from labelloop.data.site import Storage
from labelloop.errors import NoSuchProject, StudioError
from labelloop.studio.api import Api
from labelloop.types import Json

_SYNC_SECONDS = 900.0
"""Without a Redis of its own Label Studio makes all the tasks before it answers."""

_BUSY = ("queued", "in_progress")

_KINDS = {"s3": "s3", "gs": "gcs"}
"""What Label Studio calls the storages whose addresses begin so."""

_NAME = re.compile(r"(\d{1,18})(\.json)?", re.ASCII)


def read_storages(api: Api, project: int) -> list[Storage]:
    """List the buckets of a project: those of its target storages, and those of its source storages that are synced.

    One that is without a bucket yet is left out.
    """
    found: list[Storage] = []
    for scheme, kind in _KINDS.items():
        targets = api.get(f"api/storages/export/{kind}", {"project": project}, missing=NoSuchProject)
        sources = api.get(f"api/storages/{kind}/", {"project": project}, missing=NoSuchProject)
        found += (Storage("labels", _address(scheme, one), int(one["id"])) for one in targets if one.get("bucket"))
        found += (
            Storage("data", _address(scheme, one), int(one["id"]))
            for one in sources
            if one.get("bucket") and one.get("synchronizable", True)
        )
    return found


def source_buckets(api: Api, project: int) -> frozenset[str]:
    """Name the buckets of a project's source storages, ``s3://bucket``: Label Studio resolves what lies in these."""
    return frozenset(
        f"{scheme}://{one['bucket']}"
        for scheme, kind in _KINDS.items()
        for one in api.get(f"api/storages/{kind}/", {"project": project}, missing=NoSuchProject)
        if one.get("bucket")
    )


def sync(api: Api, storage: Storage) -> bool:
    """Have Label Studio make a task of each new object of a source storage; False where it was at that already.

    Raises StudioError where it says that it failed.
    """
    path = f"api/storages/{_KINDS[storage.address.partition(':')[0]]}/{storage.number}"
    was_busy = api.get(path).get("status") in _BUSY
    told: Json = api.post(f"{path}/sync", {}, timeout=_SYNC_SECONDS)
    if told.get("status") == "failed":
        reason = (str(told.get("traceback") or "").strip().splitlines() or ["its page says why"])[-1]
        raise StudioError(f"Label Studio could not sync its source storage {storage.number}: {reason[:300]}")
    return not was_busy


def label_at(address: str) -> str:
    """Name the label that an object of a target storage tells of: it is called by its annotation, or by its task."""
    found = _NAME.fullmatch(address.rpartition("/")[2])
    return f"{'t' if found[2] else 'a'}{int(found[1])}" if found else ""


def _address(scheme: str, storage: Json) -> str:
    return f"{scheme}://{storage['bucket']}/{storage.get('prefix') or ''}".rstrip("/")
