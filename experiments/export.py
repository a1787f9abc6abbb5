"""Write a trained model as files that run without this project; see docs/exports.md.

    python experiments/export.py runs/model --out=runs/exported

Not yet measured.

MODEL is what train.py has left, a fold of loso.py, or `drawn`. `mjfn export` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("export")
