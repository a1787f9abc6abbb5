"""A model that travels: what is written says what it is and gives the original's probabilities."""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from tiny import Tiny

import mjfn_jax
from flow.clips import CLASSES
from flow.errors import InputError
from mjfn_jax import layers, models, train
from mjfn_jax.commands import run
from mjfn_jax.exports import folder, onnx_graph, source
from mjfn_jax.exports.formats import FORMATS
from mjfn_jax.inputs import KINDS
from mjfn_jax.runs import checkpoints

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "exports.md"
FILES = {each.file for each in FORMATS.values()}


def untrained(method, seed=0):
    """Variables of about the size that the initialisers give, without compiling these."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))

    def variable(path, leaf):
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        width = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 100
        return random.normal(0, width**-0.5, leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(variable, shapes)


def saved(path, name, seed=0):
    """A checkpoint of a network that was never trained."""
    method = models.NETWORKS[name]
    variables = untrained(method, seed)
    about = {"name": name, "title": method.title, "settings": method.settings}
    made = {"samm": {"algorithm": "tvl1", "parameters": {"attachment": 15}, "backend": "opencv"}}
    config = {"method": about, "data": {"databases": made}, "fold": "samm/6"}
    checkpoints.save(path, variables, config)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network on flow images, in the place of MJFN."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.NETWORKS, "mjfn", Tiny())
        yield saved(tmp_path_factory.mktemp("model") / "model", "mjfn")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "exported"
    with pytest.raises(SystemExit) as done:
        run("export", [str(model), f"--out={out}"])
    assert not done.value.code
    return out


def files(out):
    return {path.name for path in out.iterdir() if path.name != ".lock"}


# The folder


def test_each_file_has_its_checksum_and_its_largest_difference(exported):
    record = json.loads((exported / "model.json").read_bytes())
    assert files(exported) == FILES | {"model.json"}
    assert set(record["files"]) == FILES
    for name, about in record["files"].items():
        content = (exported / name).read_bytes()
        assert about["sha256"] == hashlib.sha256(content).hexdigest()
        assert about["bytes"] == len(content)
        assert 0 <= about["largest_difference"] <= 1e-5
        assert about["compared_on"] == 50


def test_the_record_says_what_goes_in_and_what_comes_out(model, exported):
    record = json.loads((exported / "model.json").read_bytes())
    assert record["classes"] == list(CLASSES)
    assert record["inputs"] == [{"name": "image", "type": "uint8", "shape": ["B", 224, 224, 3]}]
    assert record["output"] == {"name": "probabilities", "type": "float32", "shape": ["B", 3]}
    assert record["method"] == "mjfn" and record["settings"]["fusion"] == "softmax"
    assert "flow.color.flow_to_color" in record["preprocessing"]
    assert record["flow"]["samm"] == {"algorithm": "tvl1", "parameters": {"attachment": 15}}
    assert record["held_out"] == "samm/6"
    manifest = (model / "MANIFEST.sha256").read_bytes()
    assert record["source_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert record["versions"]["jax"] == jax.__version__


READ = """
import sys
for project in ("mjfn_jax", "flow", {absent}):
    sys.modules[project] = None  # importing it fails
import numpy
images = numpy.load("images.npy")
{code}
numpy.savez("answer.npz", **({{"p": probabilities}} if "probabilities" in dir() else arrays))
if "about" in dir():
    print(json.dumps(about))
"""


@pytest.mark.parametrize(
    ("reader", "absent"),
    [
        ("JAX", '"flax", "onnx", "safetensors"'),
        ("safetensors", '"jax", "flax", "onnx"'),
        ("onnxruntime", '"jax", "flax", "onnx", "safetensors"'),
        ("OpenCV", '"jax", "flax", "onnx", "onnxruntime", "safetensors"'),
    ],
)
def test_what_the_page_shows_reads_a_file_without_this_project(exported, model, reader, absent):
    code = re.search(rf"\n{reader}:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) <= 5
    (images,) = source.samples("image", 4)
    np.save(exported / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", READ.format(code=code, absent=absent)],
        cwd=exported,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(exported / "answer.npz") as answer:
        if reader == "safetensors":
            kernel = checkpoints.trained(model).variables["params"]["Dense_0"]["kernel"]
            np.testing.assert_array_equal(answer["params/Dense_0/kernel"], kernel)
        else:
            np.testing.assert_allclose(answer["p"], mjfn_jax.load(model)(images), atol=1e-5)
    for left in ("images.npy", "answer.npz"):
        (exported / left).unlink()
    if reader != "OpenCV":  # which does not hand on what a file says of itself
        record = json.loads((exported / "model.json").read_bytes())
        record.pop("files")
        assert json.loads(done.stdout) == record


def test_a_format_is_added_to_those_of_the_same_model(model, exported, tmp_path):
    out = tmp_path / "new" / "out"
    folder.export(model, out, ["safetensors"])
    assert files(out) == {"model.safetensors", "model.json"}
    record = folder.export(model, out, ["onnx", "jaxexport"])
    assert files(out) == FILES | {"model.json"}
    assert set(record["files"]) == FILES
    for name in record["files"]:  # the same bytes when it is made again
        assert (out / name).read_bytes() == (exported / name).read_bytes()


def test_a_folder_with_another_model_is_left_as_it_is(exported, tmp_path):
    before = (exported / "model.json").read_bytes()
    other = saved(tmp_path / "other", "mjfn", seed=1)
    with pytest.raises(InputError, match=r"exported: holds an export of another model \(Tiny\)"):
        folder.export(other, exported)
    assert (exported / "model.json").read_bytes() == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.onnx").write_text("the user's")
    with pytest.raises(InputError, match=r"model\.onnx: stands there, and no model\.json says"):
        folder.export(other, tmp_path / "out")
    assert files(tmp_path / "out") == {"model.onnx"}


def test_a_model_that_came_out_otherwise_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LARGEST_DIFFERENCE", -1)
    with pytest.raises(InputError, match=r"as onnx a probability differs by .* nothing is written"):
        folder.export(model, tmp_path / "out", ["onnx"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("path", "formats", "said"),
    [
        ("nothing", ["onnx"], "nothing: no checkpoint; experiments/train.py makes one"),
        ("drawn", ["pickle"], "--formats=pickle: no format; choose of jaxexport, safetensors"),
        ("drawn", [], "--formats: name one or more of jaxexport"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(path, formats, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        folder.export(path, tmp_path / "out", formats)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs onnx and onnxruntime, not installed here: pip"):
        folder.export("drawn", tmp_path, ["onnx"])


class Sorted(Tiny):
    """A network with what ONNX's table has not."""

    def __call__(self, images, train=False):
        return jnp.sort(super().__call__(images, train))


def test_a_network_without_a_form_in_onnx_is_named_with_what_is_in_the_way(tmp_path, monkeypatch):
    monkeypatch.setitem(models.NETWORKS, "mjfn", Sorted())
    model = saved(tmp_path / "model", "mjfn")
    with pytest.raises(InputError, match=r"Sorted has no form in ONNX \(JAX's primitive sort\)"):
        folder.export(model, tmp_path / "out", ["onnx"])
    folder.export(model, tmp_path / "out", ["jaxexport"])


class Counted(Tiny):
    """A network that wants to know how many clips there are."""

    def __call__(self, images, train=False):
        return super().__call__(images, train) + 0 * len(images)


def test_a_network_that_needs_the_batchs_size_is_told_what_to_change(tmp_path, monkeypatch):
    monkeypatch.setitem(models.NETWORKS, "mjfn", Counted())
    model = saved(tmp_path / "model", "mjfn")
    with pytest.raises(InputError, match=r"cannot take a batch of any size .* use x\.shape\[0\]"):
        folder.export(model, tmp_path / "out")


def test_the_recogniser_travels_with_its_calibration(drawn_weights, tmp_path, monkeypatch):
    record = drawn_weights / "drawn.json"
    out = tmp_path / "out"
    folder.export(drawn_weights, out)
    (flows,) = source.samples("face_flow", 5)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    (answers,) = session.run(None, {"face_flow": flows})
    np.testing.assert_allclose(answers, mjfn_jax.load(drawn_weights)(flows), atol=1e-5)
    about = json.loads((out / "model.json").read_bytes())
    assert about["temperature"] == 1
    assert about["source_sha256"] == json.loads(record.read_bytes())["sha256"]
    assert "registration" in about["preprocessing"]


def test_no_file_tells_a_path_of_the_machine_that_wrote_it(exported):
    places = (str(pathlib.Path(__file__).parents[1]), sys.prefix, "site-packages")
    for name in files(exported):
        content = (exported / name).read_bytes()
        assert not [path for path in places if path.encode() in content]


# ONNX


def converted(function, variables, *shapes):
    names = [f"x{n}" for n in range(len(shapes))]
    with layers.portable():
        return onnx_graph.graph(function, variables, shapes, names, "y", {}).SerializeToString()


def asked(content, *inputs):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{n}": each for n, each in enumerate(inputs)})[0]


def seen_by_opencv(content, *inputs):
    network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    for n, each in enumerate(inputs):
        network.setInput(each, f"x{n}")
    return network.forward()


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_network_is_the_same_in_onnxruntime_and_in_opencv(name):
    method = models.NETWORKS[name]
    variables = untrained(method)
    inputs = source.samples(method.takes, 2)
    tree = jax.tree.structure(KINDS[method.takes].example)

    def probabilities(variables, *inputs):
        return jnp.exp(train.log_probabilities(method, variables, jax.tree.unflatten(tree, inputs)))

    content = converted(probabilities, variables, *_symbolic(inputs))
    wanted = np.asarray(jax.jit(probabilities)(variables, *inputs))
    np.testing.assert_allclose(asked(content, *inputs), wanted, atol=1e-5)
    np.testing.assert_allclose(seen_by_opencv(content, *inputs), wanted, atol=1e-5)


def _symbolic(inputs):
    (batch,) = jax.export.symbolic_shape("B")
    return [jax.ShapeDtypeStruct((batch, *each.shape[1:]), each.dtype) for each in inputs]


X = np.random.default_rng(0).normal(size=(3, 6, 5, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(6, 4, 2)).astype(np.float32)


def _running(reverse):
    def step(carry, row):
        carry = carry * 0.5 + row
        return carry, (carry**3, row.sum())

    def scanned(w, x):
        carry, (rows, sums) = jax.lax.scan(
            step, x[:, 0, 0] * 0, x[:, 0].swapaxes(0, 1), reverse=reverse
        )
        return rows.swapaxes(0, 1) + carry[:, None] + sums[None, :, None]

    return scanned


@pytest.mark.parametrize(
    "function",
    [
        lambda w, x: jnp.einsum("bhwc,hcd->bwd", x, w),
        lambda w, x: jnp.einsum("hcd,bhwc->hbdw", w, x),
        lambda w, x: x @ w[0],
        lambda w, x: x[:, 1:5:2][:, :, ::-1] + x[:, 2:3, 1][:, :, None],
        lambda w, x: x[:, -1, :2],
        lambda w, x: x[:, np.array([3, 0, 3])],
        lambda w, x: jnp.where(jnp.isfinite(jnp.log(x)), x, jnp.float32(7)),
        lambda w, x: jnp.concatenate([jnp.ones((*x.shape[:2], 1, 4)), x, -x], 2).max((1, 3)),
        lambda w, x: jnp.stack([x, jnp.zeros_like(x)], 2).reshape(x.shape[0], -1),
        lambda w, x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (3, 0)), constant_values=2),
        lambda w, x: jax.nn.softmax(x, axis=1) ** 5 + jax.lax.rsqrt(jnp.abs(x)),
        lambda w, x: jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0))
        ),
        lambda w, x: jax.lax.conv_general_dilated(
            x, jnp.tile(w[:3, None], (1, 2, 1, 1)), (2, 1), ((1, 0), (2, 1)), rhs_dilation=(1, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        lambda w, x: (x.mean((1, 2)) > 0).astype(jnp.float32) * jnp.tanh(100 * x.sum((1, 2))),
        lambda w, x: jnp.split(x, [1, 3], axis=1)[1] / x.min((1, 2, 3), keepdims=True),
        _running(False),
        _running(True),
    ],
)  # fmt: skip
def test_a_function_is_the_same_function_in_onnx(function):
    content = converted(function, W, *_symbolic([X]))
    for x in (X, X[:1]):
        np.testing.assert_allclose(asked(content, x), function(W, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda w, x: jnp.sort(x), "primitive sort"),
        (lambda w, x: x.argmax(1), "primitive argmax"),
        (lambda w, x: x.mean(0), "the number of clips as a value"),
        (lambda w, x: jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x), "while"),
        (lambda w, x: jnp.flip(x, 0), "the batch in reverse"),
    ],
)
def test_what_onnx_has_not_is_named(function, said):
    with pytest.raises(onnx_graph.Unsupported, match=said):
        converted(function, W, *_symbolic([X]))


def test_the_program_is_for_every_platform_and_any_batch(exported):
    found = jax.export.deserialize(bytearray((exported / "model.jax").read_bytes()))
    assert found.platforms == ("cpu", "cuda", "tpu")
    assert [str(aval) for aval in found.in_avals] == ["uint8[B,224,224,3]"]
    assert [str(aval) for aval in found.out_avals] == ["float32[B,3]"]
