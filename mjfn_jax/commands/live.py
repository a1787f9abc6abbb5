"""A page on 127.0.0.1 that watches this machine's camera, or a file."""

import dataclasses
import logging
import threading
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import tyro

from flow.tvl1 import PRESETS
from mjfn_jax.live.server import Server
from mjfn_jax.live.session import Sessions, warmed
from mjfn_jax.recognise import Watch, labeller
from mjfn_jax.recognise.watch import Which


@dataclasses.dataclass(frozen=True)
class Live:
    """Watch a camera or a file on a page in a browser.

    The page is on 127.0.0.1, and only its full address opens it. Nothing is stored unless the page
    is asked to save. Ctrl-C ends it.
    """

    port: int = 0
    """Of 127.0.0.1; 0 takes any that is free."""
    preset: Literal[*PRESETS] = "balanced"
    """Of TV-L1 from frame to frame: `fast` for a slower machine; `reference` is slower than a
    camera."""
    model: str = "drawn"
    """What names the expressions: `drawn`, the recogniser that comes with this package, or the
    folder of a network that `mjfn train` wrote."""
    face: Which = "largest"
    """Which faces: the largest, or each."""
    browser: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Open the page in the default browser."""

    def run(self) -> None:
        label = labeller(self.model)
        beside = ThreadPoolExecutor(1)  # no frame waits for an answer
        sessions = Sessions(lambda: Watch(label, self.face, self.preset, beside=beside))
        with Server(self.port, sessions, {"model": self.model, "preset": self.preset}) as server:
            logging.info("loading; the first start compiles, for a minute")
            warmed(label, self.preset)
            print(f"{server.address}\nCtrl-C ends it", flush=True)
            if self.browser:
                threading.Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
            server.serve_forever()
