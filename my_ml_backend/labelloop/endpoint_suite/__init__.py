"""A pytest suite for a deployed endpoint: does it answer as its bundle does here? (docs/endpoint-tests.md)."""
