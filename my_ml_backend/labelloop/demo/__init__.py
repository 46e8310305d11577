"""The demo: everything on one machine with a real Label Studio, from nothing."""
