"""Leave-one-subject-out (paper, Sec. 4): flow images in, pooled UF1 and UAR out.

    python experiments/loso.py --dataset=3db --source=DIR

Without licensed databases, `--dataset=synthetic` renders stand-ins first. A run that was
stopped continues with the same command. Times and scores stand in the README.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("loso")
