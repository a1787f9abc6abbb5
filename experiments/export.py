"""Write a trained model as files that run without this project; see docs/exports.md.

    python experiments/export.py runs/model --out=runs/exported

13 s for a fold of MJFN that was trained on stand-ins, on two cores of an AMD EPYC, other work
beside: model.jax, model.safetensors and model.onnx of 16 MB each, at most 6e-7 from the original.

MODEL is what train.py has left, a fold of loso.py, or `drawn`. `mjfn export` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("export")
