"""Clouds on the wire."""
