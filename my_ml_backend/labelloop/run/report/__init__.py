"""The report of a version: one HTML file that needs neither network nor script (docs/reports.md)."""
