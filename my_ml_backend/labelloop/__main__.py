"""``python -m labelloop`` is the ``labelloop`` command."""

from labelloop.cli import main

if __name__ == "__main__":
    main(prog_name="labelloop")
