"""The loop: when to retrain, the run itself, and what follows from it. The only layer that knows RQ."""
