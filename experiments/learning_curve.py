r"""How each method's score grows with the number of subjects that it is trained on.

    python experiments/learning_curve.py --dataset=3db --source=DIR --pretrain=drawn

Not yet measured on the real databases. On stand-ins:

    python experiments/learning_curve.py --dataset=synthetic --methods ststnet --subjects=2,4,6 \
        --draws=4 --pretrain=drawn --epochs=300

UF1 .416, .448 and .536; with drawn motion before .543, .579 and .636. 15 min 7 s on two cores of an
AMD EPYC, other work on the machine.

A draw is so many subjects, at random over all databases; it trains, and all other subjects test it.
Every method has the same draws, and draw d of 8 subjects holds those of draw d of 4, so that lines,
and points of a line, are compared draw by draw. `all` is leave-one-subject-out.
The recipe is each method's own, so few subjects also mean few steps. All of it goes to
`learning_curve.json` and `learning_curve.png`. A run that was stopped continues with the same
command. `mjfn learning_curve` is the same.
"""

from mjfn_jax.commands import run

if __name__ == "__main__":
    run("learning_curve")
