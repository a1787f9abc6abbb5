"""What a user types, a command a file: `mjfn VERB`; the scripts in `experiments/` run them too."""

import importlib
import sys
from collections.abc import Sequence

import tyro

from mjfn_jax.commands import console

COMMANDS = {
    "render": (
        "flow.synthetic.__main__:Render",
        "stand-in databases, which need no licence",
    ),
    "check": ("flow.databases.check:Check", "count a database's clips and list every problem"),
    "build": ("flow.build:Build", "flow images of a database as a TFDS data set"),
    "loso": ("mjfn_jax.commands.loso:Loso", "leave-one-subject-out with one method"),
    "table3": ("mjfn_jax.commands.table3:Table3", "every method under one protocol (Table 3)"),
    "ablation": ("mjfn_jax.commands.ablation:Ablation", "what each part of MJFN brings (Fig. 5)"),
    "learning_curve": (
        "mjfn_jax.commands.learning_curve:LearningCurve",
        "how scores grow with the number of training subjects",
    ),
    "train": ("mjfn_jax.commands.train:Train", "one network on all subjects, to hand over"),
    "export": (
        "mjfn_jax.commands.export:Export",
        "a trained model as files that run without this project",
    ),
    "pretrain": (
        "mjfn_jax.commands.pretrain:Pretrain",
        "the recogniser of drawn motion, out of nothing",
    ),
    "recognise": (
        "mjfn_jax.commands.recognise:Recognise",
        "the expressions in your own videos: when, and which",
    ),
    "live": ("mjfn_jax.commands.live:Live", "watch a camera or a file on a page in a browser"),
    "spotting": (
        "mjfn_jax.commands.spotting:Spotting",
        "how well expressions are spotted in long videos",
    ),
    "score": ("mjfn_jax.commands.score:Score", "score a prediction log of any method"),
    "report": ("mjfn_jax.commands.report:Report", "one page of finished runs"),
}
"""By verb: where its flags and what they run are, imported when asked for, and a line of help."""


def run(verb: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command with the flags of a command line, and end the process with its exit status.

    Args:
      verb: a key of :data:`COMMANDS`.
      arguments: the flags; None: those of this process.
    """
    place, _ = COMMANDS[verb]
    module, _, name = place.partition(":")
    with console.script():
        flags = getattr(importlib.import_module(module), name)
        program = f"mjfn {verb}" if arguments is not None else None
        sys.exit(tyro.cli(flags, prog=program, args=arguments, use_underscores=True).run())
