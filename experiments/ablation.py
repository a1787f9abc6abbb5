"""What each part of MJFN brings: the number of JFMs (paper, Fig. 5) and the fusion (Table 3).

    python experiments/ablation.py --dataset=3db --source=DIR

Not yet measured on the real databases. On stand-ins, 9 subjects, 72 clips, three seeds:

    python experiments/ablation.py --dataset=synthetic --epochs=12 --learning_rates 5e-4

UF1 .686 with the backbone alone, .606 [.600, .612] (lowest and highest seed) with three JFMs.

    python experiments/ablation.py --num_jfms 3 --fusions softmax --precisions highest bf16 tf32

With the same epochs and rate: UF1 .606 [.600, .612], .604 [.560, .660] and .571 [.522, .613]. The
times of both are not yet measured.

Each network is trained with every seed, learning rate and precision that is named; the seeds and
learning rates of a network are one sweep, in one program. All of it goes to `ablation.json`, from
which the table and the figure are drawn. A run that was stopped continues with the same command.
`mjfn ablation` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("ablation")
