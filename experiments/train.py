"""Train one network on all subjects of a dataset, to hand over.

    python experiments/train.py --dataset=3db --out=runs/model

Not yet measured on the real databases. On stand-ins, 72 clips, that stand already:

    python experiments/train.py --dataset=synthetic --epochs=20 --learning_rate=3e-4

33 s on two cores of an AMD EPYC, compiling included. It has seen every subject, so it has no score
of its own: `experiments/loso.py` with the same settings says what to expect of it on a new face.
`mjfn_jax.load` opens what is written. `mjfn train` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("train")
