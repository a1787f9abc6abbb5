"""Footage of faces: where expressions are, and which."""

from mjfn_jax.recognise.labels import labeller
from mjfn_jax.recognise.watch import Answer, Look, Watch

__all__ = ["Answer", "Look", "Watch", "labeller"]
