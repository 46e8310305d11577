"""Two processes keep rows in one store and merge its shards at the same time."""

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

from labelloop.models.file_store import FileStore
from labelloop.models.row_shards import RowShards


def names(count: int) -> list[str]:
    return [hashlib.sha256(f"0 {number}".encode()).hexdigest() for number in range(count)]


def test_two_processes_keep_and_merge_at_once(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import hashlib, sys
        from pathlib import Path
        import numpy as np
        from labelloop.models.file_store import FileStore
        from labelloop.models.row_shards import RowShards
        place, mine = Path(sys.argv[1]), int(sys.argv[2])
        shards = RowShards(FileStore(place / "store"), "rows/", place / "cache", ("<f2", (5,)), 64 * 42)
        for at in range(mine, 120, 2):
            name = hashlib.sha256(f"0 {at}".encode()).hexdigest()
            shards.add([name], np.full((1, 5), at, dtype="<f2"))
            assert shards.find([name])[1].all()
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(number)], env=environment)
        for number in range(2)
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    shards = RowShards(FileStore(tmp_path / "store"), "rows/", tmp_path / "cache", ("<f2", (5,)), 64 * 42)
    found, there = shards.find(names(120))
    assert there.all()
    np.testing.assert_array_equal(found[:, 0], np.arange(120))
