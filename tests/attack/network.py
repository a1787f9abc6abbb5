"""No command talks to anybody: strace sees each connection, and none has a network at all."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attack import commands
from attack.trial import CannotTry, Trial

_INTERNET = re.compile(
    r"AF_INET6?, .*?(?:sin_addr=inet_addr\(\"([^\"]+)\"\)|inet_pton\(AF_INET6, \"([^\"]+)\")"
)


def attack(count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """The first `count` verbs, each with a network under strace and then without any."""
    if not shutil.which("strace") or subprocess.run(["unshare", "-n", "true"]).returncode:
        raise CannotTry("strace and the right to `unshare -n` are needed")
    source = commands.write_source(folder / "source", seed)
    with_network = commands.Place(source, folder / "data", folder / "out")
    (folder / "out").mkdir()
    without = commands.Place(source, folder / "data0", folder / "out0")
    (folder / "out0").mkdir()
    alone = without.verbs()
    for name, flags in list(with_network.verbs().items())[: max(count // 2, 1)]:
        calls = folder / "calls"
        ended = commands.run(
            flags, ("strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(calls))
        )
        far = connections(calls.read_text(errors="replace"))
        said = ended.line if ended.status not in (0, 1) else ", ".join(far)
        yield Trial(f"mjfn {name}: connections", not far and _sound(name, ended), said)
        ended = commands.run(alone[name], ("unshare", "-n"))
        said = "" if _sound(name, ended) else ended.line
        yield Trial(f"mjfn {name}: without a network", _sound(name, ended), said)


def connections(calls: str) -> list[str]:
    """The addresses beyond this machine in what strace wrote."""
    found = {first or second for first, second in _INTERNET.findall(calls)}
    return sorted(
        a for a in found if not a.startswith("127.") and a not in ("::1", "::ffff:127.0.0.1")
    )


def _sound(name: str, ended: commands.Ended) -> bool:
    """`check` finds other counts than the paper's, and says so by its status."""
    return ended.status == (1 if name == "check" else 0) and not ended.traceback
