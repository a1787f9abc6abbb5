"""How well expressions are spotted in long videos, and what they are.

    python experiments/spotting.py
    python experiments/spotting.py --dataset=casme_sq --source=DIR

`mjfn spotting` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("spotting")
