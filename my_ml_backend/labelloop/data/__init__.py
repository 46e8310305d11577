"""Data: what a project's annotations say, as a manifest, split for ever."""
