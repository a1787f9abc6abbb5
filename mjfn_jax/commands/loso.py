"""Leave-one-subject-out (paper, Sec. 4): flow images in, pooled UF1 and UAR out."""

import dataclasses
import pathlib

import tyro

from flow.errors import InputError
from mjfn_jax.commands.console import not_finite, progress_bar, writing
from mjfn_jax.commands.flags import Sharing, Training
from mjfn_jax.folds import choose, leave_one_subject_out
from mjfn_jax.handcrafted import Handcrafted
from mjfn_jax.models import Network
from mjfn_jax.report.tables import side_by_side
from mjfn_jax.runs import loso, results
from mjfn_jax.scores.parts import table


@dataclasses.dataclass(frozen=True)
class Loso(Training):
    """Train a method once for each subject, without that subject, and score all of them together.

    Without licensed databases, `--dataset=synthetic` renders stand-ins first. A run that was
    stopped continues with the same command.
    """

    folds: str = "all"
    """`all`, or the subjects to hold out, with commas between: `sub01,s03`, `casme2/sub01`."""
    sharing: tyro.conf.OmitArgPrefixes[Sharing] = Sharing()
    cluster: str | None = None
    """Train on a Ray cluster: `local` starts one on this machine, `HOST:PORT` or `auto` joins
    one. Its workers take equal parts of the folds. `--out` must be on a file system that all its
    machines share."""
    beside: pathlib.Path | None = None
    """Folder of a finished run on the same clips: the pooled scores of both are shown, and the
    difference on the same draws of subjects."""

    def run(self) -> None:
        """Load, split, train, score, write down."""
        method, trained = self.learner(), self._options() | self.trained()
        earlier = None if self.beside is None else results.read_predictions(self.beside)
        out = self.out or pathlib.Path("runs") / f"{self.dataset}-{self.method}"
        if isinstance(method, Handcrafted):
            clips, _ = self.featured(method, self.clips())
        else:
            clips = self.clips(method.takes)
        every_fold, held_out = leave_one_subject_out(clips.databases, clips.subjects)
        folds = choose(every_fold, self.folds)
        steps = len(folds), "fold"
        if "recipe" in trained:
            steps = trained["recipe"].epochs * len(folds), "epoch"
        with writing(out), progress_bar(*steps) as on_epoch:
            identity, done = loso.run(
                self.method, method, clips, self.dataset, folds, held_out, out,
                on_epoch=on_epoch, **trained,
            )  # fmt: skip
            summary = results.summarise(clips, done, identity)
            results.write(out, summary, done, method.loss_floor())
            if summary["failed"]:
                raise not_finite(summary["failed"], trained["learning_rate"])
        print(table(summary["scores"], summary["majority"]))
        if earlier is not None:
            title, predictions = earlier
            if title == method.title:
                title = f"{title} in {self.beside}"
            both = {
                title: predictions,
                method.title: [p for each in done for p in each.predictions],
            }
            print(f"\n{side_by_side(both, title)}")
        print(f"written to {out}")

    def _options(self):
        if not isinstance(self.learner(), Network):
            if self.cluster is not None or self.sharing != Sharing():
                raise InputError(
                    "--cluster, --fold_chunk and --devices are for networks: leave them out"
                )
            return {}
        if self.cluster is None:
            return self.sharing.options()
        if self.sharing != Sharing():
            raise InputError(
                "--fold_chunk and --devices do not go with --cluster, whose workers have a device "
                "each and fill it: leave them out"
            )
        return {"address": self.cluster}
