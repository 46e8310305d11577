"""An ML backend that answers constants at once: ``python -m benchmarks.load.constant PORT``.

It stands for the least that any backend costs an annotator: nothing is read of a request but its path and length.
"""

import asyncio
import json
import re
import sys

VERSION = "constant"

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PREDICTION = {
    "result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["cat"]}}],
    "score": 0.5,
    "model_version": VERSION,
}
_ANSWERS = {
    b"/health": {"status": "UP"},
    b"/setup": {"model_version": VERSION},
    b"/predict": {"results": [_PREDICTION]},
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if length:
                await reader.readexactly(int(length[1]))
            body = json.dumps(_ANSWERS.get(head.split(b" ", 2)[1], {})).encode()
            told = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(told + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, limit=1 << 26)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
