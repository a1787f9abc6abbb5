"""Score a prediction log in the format of MEGC 2019.

    python experiments/score.py runs/demo/predictions.log

A log of 442 clips takes 1.3 s on one core of a shared two-core virtual machine, most of it for
imports. The log of `make demo` has UF1 .782, UAR .787 and accuracy .778. `mjfn score` is the same.

Prints pooled UF1, UAR and accuracy, all together and for each database, with 95 % intervals
by resampling subjects. The log may come from any method: see `mjfn_jax/scores/logs.py` for its
format.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("score")
