"""The web process as a Flask app."""

from flask import Flask

from labelloop.front.gate import guard
from labelloop.front.redaction import hide_folders
from labelloop.loop.hub import Hub
from labelloop.settings import Settings
from labelloop.studio.backends import webhook_secret
from labelloop.web.answers import answer_errors
from labelloop.web.gate import BasicAuth, WebGate, WebhookSecret
from labelloop.web.metrics import Metrics
from labelloop.web.model_class import ModelClass
from labelloop.web.routes import Routes


def create_app(settings: Settings, hub: Hub, model_class: ModelClass) -> Flask:
    """Make the app that speaks Label Studio's ML backend contract; raises SettingsError for settings that clash.

    ``model_class`` is ``LabelLoop`` of ``model.py``, or a class like it; one is made for each request that needs one.
    """
    app = Flask("labelloop", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_max_bytes
    app.url_map.merge_slashes = False  # the redirect it makes of // is an HTML page
    metrics = Metrics()
    metrics.watch(app)
    answer_errors(app)
    hide_folders(app, settings.folders)
    basic = BasicAuth(settings.basic_auth_user, settings.basic_auth_pass)
    secret = WebhookSecret(webhook_secret(settings))
    guard(app, WebGate(settings, basic, secret))
    Routes(hub, model_class, basic, secret, metrics).add_to(app)
    return app
