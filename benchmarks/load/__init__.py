"""What LabelLoop costs an annotator, and what it takes in, under load: ``python -m benchmarks.load``."""
