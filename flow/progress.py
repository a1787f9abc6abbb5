"""How far a long piece of work is: the libraries call back, the commands show a bar."""

import contextlib
from collections.abc import Callable, Iterator

OnProgress = Callable[[int, int], None]
"""Is told how many clips are done, and of how many: once at the start, then as they end."""


@contextlib.contextmanager
def bar(description: str) -> Iterator[OnProgress]:
    """A bar on stderr with the ETA; nothing is shown before the first call."""
    import tqdm

    shown: list[tqdm.tqdm] = []

    def on_progress(done: int, total: int) -> None:
        if not shown:  # what is done already is not part of this run's pace
            shown.append(tqdm.tqdm(total=total, initial=done, unit="clip", desc=description))
        shown[0].update(done - shown[0].n)

    try:
        yield on_progress
    finally:
        for each in shown:
            each.close()
