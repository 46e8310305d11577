"""Where Label Studio's tools look for the web process.

Under gunicorn (``gunicorn --chdir my_ml_backend _wsgi:app``) this is the web process alone. As a script
(``python my_ml_backend/_wsgi.py -p 9090``, which is what ``label-studio-ml start my_ml_backend`` calls) it is
``labelloop start``: Redis, inference, worker and web.
"""

import sys

if __name__ == "__main__":
    from labelloop.cli import main

    main(["start", *sys.argv[1:]], prog_name="labelloop")
else:
    from labelloop.web.wsgi import app

    __all__ = ["app"]
