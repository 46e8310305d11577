"""The clouds: what a registry, a queue of events and a place for figures are, and each cloud's own."""
