"""Engines: what runs a bundle's model. The interface is in ``base``."""
