"""Micro-expression recognition in JAX and Flax: flow images, leave-one-subject-out, scores."""

__all__ = ["leave_one_subject_out", "load", "recognise_flow"]


def __getattr__(name):
    """These come with JAX, which scoring a log can do without."""
    if name == "load":
        from mjfn_jax.runs.checkpoints import load

        return load
    if name == "leave_one_subject_out":
        from mjfn_jax.arrays import leave_one_subject_out

        return leave_one_subject_out
    if name == "recognise_flow":
        from mjfn_jax.drawn.recogniser import recognise_flow

        return recognise_flow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
