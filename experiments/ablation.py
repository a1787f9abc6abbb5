"""What each part of MJFN brings: the number of JFMs (paper, Fig. 5) and the fusion (Table 3).

    python experiments/ablation.py --dataset=3db --source=DIR
    python experiments/ablation.py --num_jfms 3 --fusions softmax --precisions highest tf32 bf16

Each network is trained with every seed, learning rate and precision that is named; the seeds and
learning rates of a network are one sweep, in one program. All of it goes to `ablation.json`, from
which the table and the figure are drawn. A run that was stopped continues with the same command.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("ablation")
