"""onnxruntime and the decoding alone, without a server: ``python -m benchmarks.serving.bare BUNDLE PICTURES``.

Reads lines ``COUNT BATCH THREADS`` and answers each with the JSON list [seconds, CPU seconds] of that many pictures.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.pictures import prepare


def open_session(bundle: Path) -> Any:
    """Open the network as every server here does: on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])


def predict(session: Any, contents: Sequence[bytes], spec: PictureSpec) -> Any:
    """Decode and run: logits (pictures, classes)."""
    pictures = np.stack([prepare(content, spec) for content in contents])
    return session.run(None, {session.get_inputs()[0].name: pictures})[0]


def main() -> None:
    bundle, folder = map(Path, sys.argv[1:])
    spec = NetworkInfo.from_json((bundle / "model.json").read_bytes()).picture
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    session = open_session(bundle)
    for line in sys.stdin:
        count, batch, threads = map(int, line.split())
        chunks = [[contents[(at + step) % len(contents)] for step in range(batch)] for at in range(0, count, batch)]
        with ThreadPoolExecutor(threads) as pool:
            began, spent = time.perf_counter(), time.process_time()
            list(pool.map(lambda chunk: predict(session, chunk, spec), chunks))
            print(json.dumps([time.perf_counter() - began, time.process_time() - spent]), flush=True)


if __name__ == "__main__":
    main()
