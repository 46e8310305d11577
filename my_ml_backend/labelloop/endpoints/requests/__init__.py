"""Request formats: how inputs are written for an endpoint (docs/formats.md)."""
