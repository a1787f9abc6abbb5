"""The command `mjfn`: `mjfn VERB --help` says what a verb takes."""

import sys

from flow.errors import STATUSES, one_line
from mjfn_jax.commands import COMMANDS, run


def main() -> None:
    """Run the verb that the command line names."""
    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb in COMMANDS:
        run(verb, arguments)
    lines = [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
    usage = "\n".join(["usage: mjfn VERB [--help] …", "", *lines])
    if verb not in ("--help", "-h"):
        sys.exit(f"error: no verb {verb}\n{usage}")
    ends = [f"  {status:<16}{meaning}" for status, meaning in STATUSES.items()]
    with one_line():
        print("\n".join([usage, "", "exit status", *ends]))


if __name__ == "__main__":
    main()
