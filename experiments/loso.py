"""Leave-one-subject-out (paper, Sec. 4): flow images in, pooled UF1 and UAR out.

    python experiments/loso.py --dataset=3db --source=DIR

Not yet measured on the real databases. On stand-ins, which it renders first (`make demo`):

    python experiments/loso.py --dataset=synthetic --epochs=20 --learning_rate=3e-4

9 subjects, 72 clips: UF1 .782 [.670, .890], UAR .787 [.676, .898], majority .222 and .333. `make
demo` takes 3 min 59 s on two cores of an AMD EPYC, installation, rendering and flow included.

`make demo` then asks the recogniser of drawn motion of the same clips, by `--method=drawn
--beside=runs/demo`: both stand below each other, with their difference. Not yet measured.

A run that was stopped continues with the same command. `mjfn loso` is the same. A handcrafted
method (`--method=lbp-top`) reads the frames, so it needs --source.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("loso")
