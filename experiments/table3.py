"""Table 3 of the paper, re-run: every method on the same clips, folds and flow.

    python experiments/table3.py --dataset=3db --source=DIR
    python experiments/table3.py --dataset=synthetic --smoke

The last epoch is scored, predictions of all folds are pooled, intervals resample subjects, and
each method is compared with MJFN on the same draws. A row that is finished is kept; a run that was
stopped continues with the same command. All of it goes to `table3.json`, by the paper's names.

Micro-Attention, ATNet and CapsuleNet take frames, which show faces: their data set is made on
request only, by `python -m flow build --frames`. Without it these rows fail and the others finish.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("table3")
