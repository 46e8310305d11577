"""The stages of a run."""

STAGES = ("fetch", "preprocess", "train", "evaluate", "register", "report")
"""In their order. ``report`` comes last: nobody's next step waits for it."""
