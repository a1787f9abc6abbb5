"""Flow images of micro-expression databases: `check` reads a source and counts, `build` makes
the TFDS data sets."""

import sys

import tyro

from flow.build import Build
from flow.databases.check import Check
from flow.errors import one_line


def main() -> int:
    """Run the subcommand that the command line names; returns the exit status."""
    command = tyro.extras.subcommand_cli_from_dict(
        {"check": Check, "build": Build},
        prog="python -m flow",
        description=__doc__,
        use_underscores=True,
    )
    with one_line():
        return command.run()


if __name__ == "__main__":
    sys.exit(main())
