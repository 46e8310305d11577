"""The sections of a report, one file each: from a run's files to what its template shows."""
