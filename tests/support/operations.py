"""What the files below ``deploy`` are compared with."""

from flask import Flask

from labelloop.loop.process import open_hub
from labelloop.settings import Settings
from labelloop.web.app import create_app
from labelloop.web.backend import LabelLoop


def web_routes() -> set[str]:
    """The paths that the web process answers."""
    settings = Settings(redis_url="redis://127.0.0.1:1/0", endpoint="fake://?classes=a")
    app: Flask = create_app(settings, open_hub(settings), LabelLoop)
    return {rule.rule for rule in app.url_map.iter_rules()}
