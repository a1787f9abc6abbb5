"""A command as a user starts it, but that a state is saved after each epoch: `python -m
attack.hasty mjfn_jax loso …`."""

import functools
import runpy
import sys

from mjfn_jax.runs import cluster, sweep

if __name__ == "__main__":
    sweep.run = functools.partial(sweep.run, save_every=0.0)
    cluster.run = functools.partial(cluster.run, save_every=0.0)
    module, *flags = sys.argv[1:]
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
