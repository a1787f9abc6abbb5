"""Make the recogniser of drawn motion out of nothing; see `flow.drawn` and docs/model_card.md.

    python experiments/pretrain.py --out=mjfn_jax/drawn/weights

No recording of a face is used. TIME
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("pretrain")
