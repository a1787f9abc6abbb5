"""MJFN in JAX and Flax: flow images, leave-one-subject-out, scores."""

__all__ = ["load"]


def __getattr__(name):
    """`load` comes with JAX, which scoring a log can do without."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mjfn_jax.checkpoints import load

    return load
