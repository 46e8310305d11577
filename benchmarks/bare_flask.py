"""A Flask app that does next to nothing, for comparison: ``gunicorn benchmarks.bare_flask:app``."""

from flask import Flask

app = Flask("bare")


@app.get("/health")
def health() -> dict[str, str]:
    """Answer as little as there is."""
    return {"status": "UP"}
