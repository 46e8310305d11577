"""Label Studio: its API, label configs, events and media."""
