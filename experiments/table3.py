"""Table 3 of the paper, re-run: every method on the same clips, folds and flow.

    python experiments/table3.py --dataset=3db --source=DIR

Not yet measured; an estimate from measured steps is 2,856 hours on two cores of an AMD EPYC.

    python experiments/table3.py --dataset=synthetic --smoke

9 min 19 s on the same two cores, nothing compiled before: every row once, with one epoch, so its
scores mean nothing. The handcrafted methods, MJFN, MJFN-BbN and MJFN-Avg with --epochs=30 --oracle
and three seeds on the stand-ins: MJFN has UF1 .730, and .858 with the epoch that is the best on the
held-out subject. Its time is not yet measured.

The last epoch is scored, predictions of all folds are pooled, intervals resample subjects, and
each method is compared with MJFN on the same draws. A row that is finished is kept, in a folder
that is named by a digest of all that it depends on; a run that was stopped continues with the same
command. All of it goes to `table3.json`, by the paper's names. `mjfn table3` is the same.

Micro-Attention, ATNet and CapsuleNet take frames, which show faces: their data set is made on
request only, by `python -m flow build --frames`. Without it these rows fail and the others finish.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("table3")
