"""Labelbox: its model-training service, its model runs and its API."""
