"""Label Studio's cloud storages: buckets that it writes annotations to, and makes tasks of (contract, "Storages")."""

import re

from labelloop.data.site import Storage
from labelloop.errors import NoSuchProject, StudioError
from labelloop.studio.api import Api
from labelloop.types import Json

_SYNC_SECONDS = 900.0
"""Without a Redis of its own Label Studio makes all the tasks before it answers."""

_BUSY = ("queued", "in_progress")

_NAME = re.compile(r"(\d{1,18})(\.json)?", re.ASCII)


def read_storages(api: Api, project: int) -> list[Storage]:
    """List the buckets of a project: those of its target storages, and those of its source storages that are synced.

    One that is without a bucket yet is left out.
    """
    targets = api.get("api/storages/export/s3", {"project": project}, missing=NoSuchProject)
    sources = api.get("api/storages/s3/", {"project": project}, missing=NoSuchProject)
    return [
        *(Storage("labels", _address(one), int(one["id"])) for one in targets if one.get("bucket")),
        *(
            Storage("data", _address(one), int(one["id"]))
            for one in sources
            if one.get("bucket") and one.get("synchronizable", True)
        ),
    ]


def sync(api: Api, storage: Storage) -> bool:
    """Have Label Studio make a task of each new object of a source storage; False where it was at that already.

    Raises StudioError where it says that it failed.
    """
    path = f"api/storages/s3/{storage.number}"
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


def _address(storage: Json) -> str:
    return f"s3://{storage['bucket']}/{storage.get('prefix') or ''}".rstrip("/")
