"""The HTTP server before both Flask apps: one event loop holds the clients, and threads see only whole requests.

``worker`` is the worker class of gunicorn, which keeps processes, signals and the graceful end as they are. ``house``
holds the connections, ``connection`` talks HTTP/1.1 with one client, and ``protocol`` is how an app is asked and
called. ``standby`` takes the connections while no worker lives.
"""
