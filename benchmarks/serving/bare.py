"""A model of any kind without a server, in one process: ``python -m benchmarks.serving.bare BUNDLE INPUTS``.

Of pictures, onnxruntime and the decoding alone; of texts the model, onnxruntime behind it where it is an encoder. Reads
lines ``COUNT BATCH THREADS`` and answers each with the JSON list [seconds, CPU seconds] of that many of the files in
the folder INPUTS.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.kinds.object_detection.info import DetectorInfo
from labelloop.kinds.text_classification.engine import TextEngine
from labelloop.models.bundle import read_bundle_info
from labelloop.pictures import decode, normalise, resize
from labelloop.serve.engines.base import open_engine


def open_session(bundle: Path) -> Any:
    """Open the network as every server here does: on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])


def predict(session: Any, contents: Sequence[bytes], spec: PictureSpec) -> Any:
    """Decode whole and run: logits (pictures, classes)."""
    pictures = np.stack([normalise(resize(decode(content), spec), spec) for content in contents])
    return session.run(None, {session.get_inputs()[0].name: pictures})[0]


def model_of(bundle: Path) -> Callable[[Sequence[bytes]], Any]:
    """Give what does the work for some inputs."""
    info = read_bundle_info(bundle)
    if isinstance(info, NetworkInfo | DetectorInfo):
        session, spec = open_session(bundle), info.picture
        return lambda contents: predict(session, contents, spec)
    engine = open_engine(bundle, "onnx")
    assert isinstance(engine, TextEngine)
    return lambda contents: engine.logits([content.decode() for content in contents])


def main() -> None:
    bundle, folder = map(Path, sys.argv[1:])
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    model = model_of(bundle)
    for line in sys.stdin:
        count, batch, threads = map(int, line.split())
        chunks = [[contents[(at + step) % len(contents)] for step in range(batch)] for at in range(0, count, batch)]
        with ThreadPoolExecutor(threads) as pool:
            began, spent = time.perf_counter(), time.process_time()
            list(pool.map(model, chunks))
            print(json.dumps([time.perf_counter() - began, time.process_time() - spent]), flush=True)


if __name__ == "__main__":
    main()
