"""Watching what a version predicts once it serves: whether its inputs have become others."""
