"""AWS on this machine: ``python -m support.aws --port 5000 --folder DIR`` runs the stand-in until it is ended.

Its first line on standard output is its address; the next ones are the variables by which programs find it, to be
``export``ed.
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from support.aws.stand_in import aws_stand_in


def main() -> None:
    """Run it until SIGTERM or SIGINT."""
    reading = argparse.ArgumentParser(prog="python -m support.aws", description="Run a stand-in of AWS.")
    reading.add_argument("--port", type=int, default=0, help="Port on 127.0.0.1; default: a free one.")
    reading.add_argument("--folder", type=Path, required=True, help="Where jobs, functions and models lie.")
    told = reading.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with aws_stand_in(told.folder, told.port) as aws:
        sys.stdout.writelines([f"{aws.url}\n", *(f"{name}={value}\n" for name, value in aws.environment.items())])
        sys.stdout.flush()
        ending.wait()


if __name__ == "__main__":
    main()
