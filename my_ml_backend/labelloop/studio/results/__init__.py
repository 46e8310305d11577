"""Label Studio results: one module for each family of control tags."""
