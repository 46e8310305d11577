"""An endpoint that gives 32 answers at a time: ``python -m benchmarks.slow_endpoint PORT [SECONDS]``, by default 30 ms.

It knows the URL of SageMaker's runtime, and gives out one picture at ``/picture/...``. Asyncio by hand, because it runs
beside what is measured: an answer costs it about 0.1 ms of processor time.
"""

import asyncio
import hashlib
import io
import re
import sys

import numpy as np
from PIL import Image

SECONDS = 0.03
AT_ONCE = 32

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def picture() -> bytes:
    """Make a JPEG of 480 x 320 pixels and about 60 kB."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((480, 320), Image.Resampling.BICUBIC)
    noisy = np.clip(np.asarray(image, dtype=np.int16) + rng.integers(-24, 25, (320, 480, 3)), 0, 255)
    out = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


class Endpoint:
    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._places = asyncio.Semaphore(AT_ONCE)
        self._picture = picture()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                writer.write(await self._answer(head, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET /picture/"):
            return _reply(self._picture, b"image/jpeg")
        if head.startswith(b"GET"):
            return _reply(b"{}", b"application/json")
        async with self._places:
            await asyncio.sleep(self._seconds)
        cat = 0.5 + hashlib.sha256(body).digest()[0] / 512
        answer = b'[{"label": "cat", "score": %.6f}, {"label": "dog", "score": %.6f}]' % (cat, 1 - cat)
        return _reply(answer, b"application/json")


def _reply(body: bytes, media_type: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nx-Amzn-Invoked-Production-Variant: A\r\nContent-Length: %d\r\n\r\n%s"
        % (media_type, len(body), body)
    )


async def _main(port: int, *seconds: float) -> None:
    server = await asyncio.start_server(Endpoint(*seconds).serve, "127.0.0.1", port, limit=1 << 26, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), *map(float, sys.argv[2:])))
