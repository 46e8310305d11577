"""The formats of labeled pictures and texts (docs/manifests.md), one file each, all read to one ``Listing``."""

from labelloop.data.formats.base import Hints
from labelloop.data.formats.listings import FORMATS, read_listing, write_listing

__all__ = ["FORMATS", "Hints", "read_listing", "write_listing"]
