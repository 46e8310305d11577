"""Shards: tar files of pictures, by which large sets travel between machines instead of a file at a time.

A shard holds pictures named by their sha256, and is itself named by these names: the same set gives the same shards,
and a picture more changes one of them. Texts and what is true of them stand in the manifest; where there is nothing
else, one empty shard travels, for a job's channel must not be empty.
"""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import Damaged
from labelloop.files import is_sha256, whole_file

USUAL_BYTES, MOST_BYTES = 64 << 20, 256 << 20
"""What a shard holds on average, and at most, but for a larger picture."""

SUFFIX = ".tar"

_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard as it is, or will be: the pictures in it (sha256, hex) in order."""

    pictures: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its file."""
        return named(self.pictures)

    def write(self, cache: PictureCache, target: Path) -> None:
        """Write it from the cache, whole or not at all, with the same bytes everywhere; raises OSError."""
        with whole_file(target) as aside, tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as archive:
            for picture in self.pictures:
                member = tarfile.TarInfo(picture)
                with cache.path(picture).open("rb") as file:
                    member.size = cache.path(picture).stat().st_size
                    archive.addfile(member, file)


def named(pictures: Iterable[str]) -> str:
    """Give the file name of the shard that holds these pictures."""
    whole = hashlib.sha256()
    for picture in pictures:
        whole.update(f"{picture}\n".encode())
    return whole.hexdigest() + SUFFIX


def shards(pictures: Iterable[str], cache: PictureCache, usual: int = USUAL_BYTES) -> Iterator[Shard]:
    """Deal pictures (sha256, any order, any number of times) out to shards of about ``usual`` bytes.

    A picture ends its shard where the last digits of its hash, as a fraction, are below its share of the usual bytes:
    so it does whatever else is in the set. 32 bytes a picture are in memory. What the cache lacks is in no shard:
    preprocess names it. Of no pictures at all there is one shard, which is empty.
    """
    held: list[str] = []
    size, dealt = 0, False
    for content, _ in groupby(sorted(map(bytes.fromhex, pictures))):
        picture = content.hex()
        if not cache.has(picture):
            continue
        held.append(picture)
        own = cache.path(picture).stat().st_size
        size += own
        if int.from_bytes(content[-4:]) * usual < own << 32 or size >= min(MOST_BYTES, 4 * usual):
            yield Shard(tuple(held))
            held, size, dealt = [], 0, True
    if held or not dealt:
        yield Shard(tuple(held))


def pictures_of(manifest: Manifest) -> Iterator[str]:
    """Give the pictures of a manifest that its sides may hold: what shards are made of."""
    return (item.content for item in manifest.distinct() if not item.text)


def unpack(shard: Path, cache: PictureCache) -> int:
    """Take a shard's pictures into the cache, a part of one in memory at a time; says how many it holds.

    Nothing else is ever written than a picture whose sha256 is its name. Raises Damaged naming the shard where it is
    cut, changed, or holds anything else; StoreError when the disk refuses.
    """
    found: list[str] = []
    try:
        with tarfile.open(shard, "r|") as archive:
            for member in archive:
                cache.take(member.name, member.size, _content(archive, member))
                found.append(member.name)
    except Damaged as error:
        raise Damaged(f"shard {shard}: {error}: {_REMEDY}") from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Damaged(f"shard {shard} is no tar file that can be read ({error}): {_REMEDY}") from error
    if named(found) != shard.name:
        raise Damaged(f"shard {shard} was cut, or is another one than its name says: {_REMEDY}")
    return len(found)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    plain = is_sha256(member.name) and member.type in _PLAIN and not member.issparse()
    content = archive.extractfile(member) if plain else None
    if content is None:
        raise Damaged(f"it holds {member.name[:80]!r}, which is no picture")
    return content


_REMEDY = "remove it where it came from, and hand the pictures over again"
