"""Watching what a version predicts once it serves: whether its inputs have become others, and whether people agree."""
