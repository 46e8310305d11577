"""Endpoints: what turns pictures into predictions, wherever it runs. The interface is in ``base``."""
