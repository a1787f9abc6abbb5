"""The forms in which a model travels: each is written, and read back by what its readers have.

    model.jax          jax.export: a program for CPU, CUDA and TPU, any batch; its last line is JSON
    model.safetensors  the arrays by name
    model.onnx         an ONNX graph, any batch

What a file says of itself is one JSON text, the same in all.
"""

import contextlib
import dataclasses
import importlib.util
import json
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import traverse_util
from jaxtyping import Float32, Shaped

from flow.errors import InputError
from mjfn_jax import layers
from mjfn_jax.exports.source import OUTPUT, Source

PLATFORMS = ("cpu", "cuda", "tpu")
"""What the program of `model.jax` runs on."""

ABOUT = "about"
"""The name of the JSON text in what a file of safetensors or ONNX says of itself."""

Run = Callable[[Sequence[Shaped[np.ndarray, "B ..."]]], Float32[np.ndarray, "B 3"]]
"""From inputs to probabilities."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One form."""

    file: str
    """The file's name."""
    needs: tuple[str, ...]
    """Modules that not everybody has, of the extra `export`."""
    write: Callable[[Source, str], bytes]
    """The file's content, out of the model and what is said of it."""
    read: Callable[[Source, bytes], tuple[str, Run]]
    """What is said in a file, and the model in it. The source gives what is not in the file: of
    safetensors the program."""


def _write_jax(source: Source, about: str) -> bytes:
    variables = jax.tree.map(jnp.asarray, source.variables)
    program = jax.jit(lambda *inputs: source.function(variables, *inputs))
    with layers.portable(), _no_places():
        exported = jax.export.export(program, platforms=PLATFORMS)(*source.shapes())
    # A flatbuffer says by itself where its parts are: what comes after it is not looked at.
    return bytes(exported.serialize()) + b"\n" + about.encode()


@contextlib.contextmanager
def _no_places():
    """A program that says of no operation in which file of this machine it was called for."""
    limit = jax.config.jax_traceback_in_locations_limit
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)


def _read_jax(source: Source, content: bytes) -> tuple[str, Run]:
    call = jax.export.deserialize(bytearray(content)).call
    about = content.rpartition(b"\n")[2].decode()
    return about, lambda inputs: np.asarray(call(*inputs))


def _write_safetensors(source: Source, about: str) -> bytes:
    arrays = traverse_util.flatten_dict(source.variables, sep="/")
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return safetensors.numpy.save(arrays, {ABOUT: about})


def _read_safetensors(source: Source, content: bytes) -> tuple[str, Run]:
    variables = traverse_util.unflatten_dict(safetensors.numpy.load(content), sep="/")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    call = jax.jit(source.function)
    return header["__metadata__"][ABOUT], lambda inputs: np.asarray(call(variables, *inputs))


def _write_onnx(source: Source, about: str) -> bytes:
    from mjfn_jax.exports import onnx_graph

    try:
        with layers.portable():
            model = onnx_graph.graph(
                source.function, source.variables, source.shapes(), source.names, OUTPUT,
                {ABOUT: about},
            )  # fmt: skip
    except onnx_graph.Unsupported as error:
        raise InputError(
            f"{source.title} has no form in ONNX ({error}): leave onnx out of --formats"
        ) from None
    return model.SerializeToString()


def _read_onnx(source: Source, content: bytes) -> tuple[str, Run]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map[ABOUT]
    names = [given.name for given in session.get_inputs()]
    return about, lambda inputs: session.run([OUTPUT], dict(zip(names, inputs, strict=True)))[0]


FORMATS = {
    "jaxexport": Format("model.jax", ("flatbuffers",), _write_jax, _read_jax),
    "safetensors": Format("model.safetensors", (), _write_safetensors, _read_safetensors),
    "onnx": Format("model.onnx", ("onnx", "onnxruntime"), _write_onnx, _read_onnx),
}
"""By the name that `--formats` takes."""


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """These formats, each once.

    Raises:
      InputError: there is none, one is not known, or what it needs is not installed.
    """
    names = tuple(dict.fromkeys(names))
    if not names:
        raise InputError(f"--formats: name one or more of {', '.join(FORMATS)}")
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--formats={name}: no format; choose of {', '.join(FORMATS)}")
        missing = [each for each in FORMATS[name].needs if not importlib.util.find_spec(each)]
        if missing:
            raise InputError(
                f"--formats={name}: needs {' and '.join(missing)}, not installed here: "
                "pip install 'mjfn-jax[export]'"
            )
    return names
