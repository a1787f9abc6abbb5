"""MJFN in JAX and Flax: flow images, leave-one-subject-out, scores."""

from mjfn_jax.checkpoints import load

__all__ = ["load"]
