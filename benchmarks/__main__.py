"""``python -m benchmarks [NAME ...]``: run benchmarks and print their rows; without names, all of them."""

import argparse
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import (
    bench_bulk,
    bench_drift,
    bench_events,
    bench_execution,
    bench_figure_gate,
    bench_finetune,
    bench_gate,
    bench_head,
    bench_labelbox,
    bench_labels,
    bench_paths,
    bench_predict,
    bench_predictions,
    bench_rollback,
    bench_rounds,
    bench_run,
    bench_search,
    bench_seconds,
    bench_serve,
    bench_serve_kinds,
    bench_spans,
    bench_start,
    bench_sweep,
    bench_texts,
    bench_train,
)
from benchmarks.learning import bench_learning

BENCHMARKS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "start": bench_start.run,
    "paths": bench_paths.run,
    "seconds": bench_seconds.run,
    "rounds": bench_rounds.run,
    "run": bench_run.run,
    "events": bench_events.run,
    "execution": bench_execution.run,
    "train": bench_train.run,
    "head": bench_head.run,
    "finetune": bench_finetune.run,
    "search": bench_search.run,
    "gate": bench_gate.run,
    "figure-gate": bench_figure_gate.run,
    "drift": bench_drift.run,
    "rollback": bench_rollback.run,
    "learning": bench_learning.run,
    "spans": bench_spans.run,
    "serve": bench_serve.run,
    "serve-kinds": bench_serve_kinds.run,
    "predict": bench_predict.run,
    "predictions": bench_predictions.run,
    "bulk": bench_bulk.run,
    "labels": bench_labels.run,
    "sweep": bench_sweep.run,
    "labelbox": bench_labelbox.run,
    "texts": bench_texts.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; default: all")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    found = {name: BENCHMARKS[name]() for name in options.names or BENCHMARKS}
    print(f"Python {platform.python_version()}, {platform.machine()}")
    for name, figures in found.items():
        print(f"\n{name}")
        for what, value in figures.items():
            print(f"  {what:<58} {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
