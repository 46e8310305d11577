"""The stages of a run, one file each."""

STAGES = ("fetch", "preprocess", "train", "evaluate", "register")
"""In their order."""
