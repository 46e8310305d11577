"""The URLs under which clients reach a model in each cloud, so that the same client talks to this container."""
