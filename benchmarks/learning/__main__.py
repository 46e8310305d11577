"""``python -m benchmarks.learning``: see bench_learning."""

from benchmarks.learning.bench_learning import main

main()
