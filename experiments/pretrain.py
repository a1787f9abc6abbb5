"""Make the recogniser of drawn motion out of nothing; see `flow.drawn` and docs/model_card.md.

    python experiments/pretrain.py --out=mjfn_jax/drawn/weights

No recording of a face is used. 6 min 14 s on two cores of an AMD EPYC, other work beside; not yet
measured on a GPU. It ends with UF1 0.795 on drawn clips of settings that are harder than what was
taught. The same seeds give the same file. `mjfn pretrain` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("pretrain")
