"""What stands in for Google Cloud in tests: Vertex AI, whose jobs really run, Cloud Storage, Monitoring and Pub/Sub.

with google_stand_in(folder) as google:
    google.ask("POST", "endpoints", {"displayName": "cats"}, endpointId="cats")
    google.fail("POST endpoints/*:deployModel", "UNAVAILABLE")
"""

from support.google.stand_in import LOCATION as LOCATION
from support.google.stand_in import PROJECT as PROJECT
from support.google.stand_in import StandIn as StandIn
from support.google.stand_in import google_stand_in as google_stand_in
from support.google.wire import Call as Call
from support.google.wire import Refused as Refused
from support.serving import HungUp as HungUp
