"""What brings versions to an endpoint that does not take them from the store (docs/deployers.md)."""
