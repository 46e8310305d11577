"""One run without Label Studio and Redis: from a manifest to a judged version, stage by stage, from named files."""
