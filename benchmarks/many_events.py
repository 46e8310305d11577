"""``python -m benchmarks.many_events COUNT``: a stand-in of AWS with a queue of events of so many annotations.

Each tenth of them is told twice. Prints the variables by which boto3 finds it, as JSON.
"""

import json
import random
import sys
import tempfile
import threading
from pathlib import Path

from support.aws import aws_stand_in
from support.aws.queue import EventQueue, annotations, large_queue


def main() -> None:
    """Serve until it is ended."""
    count = int(sys.argv[1])
    told = [*annotations(range(count), ago=60), *annotations(range(0, count, 10), ago=60)]
    random.Random(0).shuffle(told)
    with tempfile.TemporaryDirectory() as folder, aws_stand_in(Path(folder)) as aws, large_queue(aws) as queue:
        EventQueue(aws)  # its name and its address
        queue.waiting += map(json.dumps, told)
        print(json.dumps(aws.environment), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
