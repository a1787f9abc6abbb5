"""How each method's score grows with the number of subjects that it is trained on.

    python experiments/learning_curve.py --dataset=3db --source=DIR --pretrain=drawn

Not yet measured on the real databases. On stand-ins:

    RECEIPT

A draw is so many subjects, at random over all databases; it trains, and all other subjects test it.
Every method has the same draws, and draw d of 8 subjects holds those of draw d of 4, so that two
lines, or two points of a line, differ by less than their spread. `all` is leave-one-subject-out.
The recipe is each method's own, so few subjects also mean few steps. All of it goes to
`learning_curve.json` and `learning_curve.png`. A run that was stopped continues with the same
command. `mjfn learning_curve` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("learning_curve")
