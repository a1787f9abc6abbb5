"""How exactly products are computed in training. Parameters and Adam are always float32."""

import contextlib
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

Precision = Literal["highest", "tf32", "bf16"]

_TF32 = "tensorfloat32"


def compute(precision: Precision) -> contextlib.AbstractContextManager:
    """What is traced inside computes its products so.

    `highest` is float32. `tf32` rounds the operands of each product to 10 bits behind the binary
    point and adds in float32: tensor cores do it on a GPU, and on a CPU, which has none, the
    operands are rounded here, so that a study gives the same picture. `bf16` is for the caller
    to bring in, as arrays of that type.
    """
    return jax.default_matmul_precision(_TF32 if precision == "tf32" else "highest")


def is_exact() -> bool:
    """Whether products are computed in float32, not in TF32."""
    return jax.config.jax_default_matmul_precision != _TF32


def einsum(spec: str, a: Array, b: Array) -> Array:
    """`jnp.einsum` of two arrays, in the precision of :func:`compute`."""
    return jnp.einsum(spec, _rounded(a), _rounded(b))


def dot_general(a: Array, b: Array, *args: Any, **settings: Any) -> Array:
    """`lax.dot_general` in the precision of :func:`compute`, for `nn.Dense(dot_general=...)`."""
    return jax.lax.dot_general(_rounded(a), _rounded(b), *args, **settings)


def _rounded(x: Array) -> Array:
    if is_exact() or jax.default_backend() != "cpu":
        return x
    return jax.lax.reduce_precision(x, 8, 10)
