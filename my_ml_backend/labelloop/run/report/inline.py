"""Pictures inside the HTML file: small, and not too many."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from labelloop import pictures
from labelloop.errors import Unreadable

MOST_BYTES = 4_000_000
"""Bytes of all pictures in one report, as text; what comes after is left out and counted."""

_MOST_READ = 20_000_000
"""Bytes of one file that is opened at all."""


@dataclass
class Inline:
    """Hands out data URIs until ``MOST_BYTES`` are spent; ``left_out`` counts what had no room."""

    spent: int = 0
    left_out: int = 0

    def uri(self, path: Path, width: int) -> str:
        """Give a picture file as a data URI, at most ``width`` pixels wide and high; empty where it cannot be.

        Every picture is decoded and written anew, so that nothing but pixels comes into the file.
        """
        if not path.is_file() or path.stat().st_size > _MOST_READ:
            return ""
        try:
            text = _encoded(path.read_bytes(), width)
        except (Unreadable, OSError):
            return ""
        if self.spent + len(text) > MOST_BYTES:
            self.left_out += 1
            return ""
        self.spent += len(text)
        return text


def _encoded(content: bytes, width: int) -> str:
    image = pictures.decode(content)
    image.thumbnail((width, width), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
