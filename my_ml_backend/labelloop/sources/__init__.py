"""Bytes by address, and the guard against private addresses."""
