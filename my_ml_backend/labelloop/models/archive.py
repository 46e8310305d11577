"""``model.tar.gz``: a bundle as SageMaker wants it, its files at the root of the archive (docs/bundle.md)."""

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Container
from pathlib import Path

from labelloop.errors import BundleError
from labelloop.files import sha256, whole_file, whole_folder
from labelloop.models.bundle import RECORD, Wanted, check_bundle, files, weights_of

"""What an archive may hold beside a bundle's files: the version's record."""

_FASTEST = 1  # weights hardly shrink

_RATIO, _FREE_BYTES = 100, 200_000_000
"""An archive may unpack to so many times its size, or to so many bytes. Long lists of scores shrink to a fiftieth, and
bombs to a thousandth."""


def write_archive(bundle: Path, target: Path, version: str = "", wanted: Wanted = weights_of) -> None:
    """Write a bundle's files into ``target``, whole or not at all; the same files give the same bytes.

    With a ``version`` whoever serves the archive calls its answers by that name. Of the weights those are in it that
    are ``wanted``. Raises BundleError for a damaged bundle.
    """
    info = check_bundle(bundle)
    names = {*files(), RECORD} - ({*weights_of(info)} - {*wanted(info)})
    with (
        whole_file(target) as partial,
        partial.open("wb") as file,
        gzip.GzipFile("", "wb", _FASTEST, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(names):
            if name == RECORD and version:
                named = json.dumps({"version": version}).encode()
                archive.addfile(_member(name, len(named)), io.BytesIO(named))
            elif (bundle / name).is_file():
                with (bundle / name).open("rb") as content:
                    archive.addfile(_member(name, (bundle / name).stat().st_size), content)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Describe a file without what differs from machine to machine: owner, time, rights."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def bundle_folder(bundle: Path, folder: Path) -> Path:
    """Give the folder of a bundle: ``bundle`` itself, or where an archive was unpacked, below ``folder``.

    An archive is unpacked once; the bundle's own hashes are for the caller to check. Raises BundleError for what is no
    archive, or cannot be unpacked.
    """
    if bundle.is_dir():
        return bundle
    try:
        target = folder / f"archive-{sha256(bundle)[:16]}"
        if not target.is_dir():
            with whole_folder(target) as partial:
                extract(bundle, partial, {*files(), RECORD})
    except OSError as error:
        raise BundleError(f"{bundle} cannot be unpacked into {folder}: {error.strerror or error}") from error
    return target


def extract(archive: Path, folder: Path, wanted: Container[str], what: str = "model.tar.gz") -> None:
    """Take the plain files of these names out of a packed archive, and nothing else: no other name, link or folder.

    Raises BundleError for what is no such archive, and for one that unpacks to far more than it has.
    """
    most, seen = max(_FREE_BYTES, _RATIO * archive.stat().st_size), 0
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                seen += member.size
                if seen > most:
                    raise BundleError(f"{archive} is no {what}: its files have more than {most:,} bytes, unpacked")
                member.name = member.name.removeprefix("./")
                if member.name in wanted and member.isreg():
                    packed.extract(member, folder, filter="data")
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise BundleError(f"{archive} is no {what} that can be read: {error}") from error
