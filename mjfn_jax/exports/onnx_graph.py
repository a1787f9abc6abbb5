"""A JAX function as an ONNX graph: the primitives of its jaxpr, one after another.

What is traced are plain networks, so the table below holds what those of `mjfn_jax.models` are made
of. A primitive that is not in it is an error that names it.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
from jax.extend import core
from jaxtyping import PyTree
from onnx import helper, numpy_helper

OPSET = 17
"""Version of ONNX's operators, of 2022: onnxruntime from 1.12 on reads it."""

_IR = 8
"""Version of the file's format that came with it."""


class Unsupported(Exception):
    """A function has what this table or ONNX does not; the text says what."""


class Value(NamedTuple):
    """What a variable of a jaxpr is in the graph.

    Broadcasting is put off, since ONNX's operators broadcast by themselves: where the variable's
    axis has n elements, this one may have 1.
    """

    shape: tuple[Any, ...]
    """Of whole numbers, and the batch."""
    name: str = ""
    """Of the node's output; empty for a constant."""
    array: Any = None
    """A constant."""
    label: str = ""
    """Of a constant: what it is called in the file."""


def graph(
    function: Callable[..., jax.Array],
    variables: PyTree,
    inputs: Sequence[jax.ShapeDtypeStruct],
    names: Sequence[str],
    output: str,
    about: dict[str, str],
) -> onnx.ModelProto:
    """A function with its variables as an ONNX model.

    Args:
      function: of the variables and the inputs, to one array.
      variables: arrays, which become constants by their names in the tree.
      inputs: shapes and types; the first axis of each is the batch, a symbolic dimension.
      names: of the inputs.
      output: its name.
      about: the model's metadata.

    Raises:
      Unsupported: the function has a primitive that is not in the table.
    """
    paths, tree = jax.tree.flatten_with_path(variables)
    closed = jax.make_jaxpr(
        lambda leaves, *rest: function(jax.tree.unflatten(tree, leaves), *rest)
    )([leaf for _, leaf in paths], *inputs)
    made = _Graph(names[0], inputs[0].shape[0])
    constants = [
        Value(leaf.shape, array=leaf, label="/".join(str(key.key) for key in path))
        for path, leaf in paths
    ]
    given = [Value(each.shape, name) for each, name in zip(inputs, names, strict=True)]
    (result,) = made.run(closed.jaxpr, closed.consts, [*constants, *given])
    made.node("Identity", [made.whole(result, closed.jaxpr.outvars[0].aval.shape)], name=output)
    onnx_type = helper.np_dtype_to_tensor_dtype
    model = helper.make_model(
        helper.make_graph(
            made.nodes,
            "network",
            [
                helper.make_tensor_value_info(name, onnx_type(each.dtype), _sides(each.shape))
                for each, name in zip(inputs, names, strict=True)
            ],
            [
                helper.make_tensor_value_info(output, onnx_type(out.dtype), _sides(out.shape))
                for out in closed.out_avals
            ],
            list(made.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR,
        producer_name="mjfn-jax",
        producer_version=importlib.metadata.version("mjfn-jax"),
    )
    helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    return model


def _sides(shape):
    return [side if isinstance(side, int) else str(side) for side in shape]


class _Graph:
    """The nodes and constants that were made so far."""

    def __init__(self, first: str, batch: Any):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._first, self._batch = first, batch

    def run(self, jaxpr: Any, consts: Sequence[Any], given: Sequence[Value]) -> list[Value]:
        """The outputs of a jaxpr."""
        known = dict(zip(jaxpr.invars, given, strict=True))
        known |= {
            v: Value(np.shape(c), array=c) for v, c in zip(jaxpr.constvars, consts, strict=True)
        }

        def read(atom):
            if isinstance(atom, core.Literal):
                return Value(np.shape(atom.val), array=np.asarray(atom.val, atom.aval.dtype))
            return known[atom]

        for equation in _needed(jaxpr):
            values = [read(atom) for atom in equation.invars]
            known |= zip(equation.outvars, self._equation(equation, values), strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation, values):
        name, params = equation.primitive.name, equation.params
        inner = next((params[k] for k in ("jaxpr", "call_jaxpr") if k in params), None)
        if name == "dim_as_value":
            raise Unsupported("the number of clips as a value")
        if name == "scan":
            return self._scan(params, values)
        if inner is not None and name in _CALLS:
            closed = inner if hasattr(inner, "consts") else None
            return self.run(
                closed.jaxpr if closed else inner, closed.consts if closed else (), values
            )
        if all(
            value.array is not None and value.shape == atom.aval.shape
            for value, atom in zip(values, equation.invars, strict=True)
        ) and all(_is_fixed(out.aval.shape) for out in equation.outvars):
            arrays = equation.primitive.bind(*(value.array for value in values), **params)
            arrays = arrays if equation.primitive.multiple_results else [arrays]
            return [Value(array.shape, array=array) for array in arrays]
        if name in _ELEMENTWISE:
            return [self._elementwise(_ELEMENTWISE[name], values)]
        if name not in _TABLE:
            raise Unsupported(f"JAX's primitive {name}")
        result = _TABLE[name](self, equation, values)
        return result if isinstance(result, list) else [result]

    def _elementwise(self, operator, values):
        shape = _joint_shape([value.shape for value in values])
        return Value(shape, self.node(operator, values))

    def _scan(self, params, values):
        """Step by step: the number of steps is known."""
        if "ft_in" in params:  # from JAX 0.12 on
            fixed, carried, _ = map(len, params["ft_in"].unpack())
        else:
            fixed, carried = params["num_consts"], params["num_carry"]
        consts, carry = values[:fixed], values[fixed : fixed + carried]
        rows, closed, collected = values[fixed + carried :], params["jaxpr"], []
        steps = range(params["length"])
        for step in reversed(steps) if params["reverse"] else steps:
            at = [self.index(row, 0, step) for row in rows]
            results = self.run(closed.jaxpr, closed.consts, [*consts, *carry, *at])
            carry = results[:carried]
            collected.append(results[carried:])
        if params["reverse"]:
            collected.reverse()
        inner = [out.aval.shape for out in closed.jaxpr.outvars[carried:]]
        return [
            *carry,
            *(
                self.stack(each, 0, shape)
                for each, shape in zip(zip(*collected, strict=True), inner, strict=True)
            ),
        ]

    def name(self, value: Value) -> str:
        """A value as a node's input."""
        return self.constant(value.array, value.label) if value.array is not None else value.name

    def constant(self, array: Any, label: str = "") -> str:
        """The name of a constant; the same one is kept once."""
        array = np.asarray(array, order="C")
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        name = label or f"constant/{array.dtype}/{array.shape}/{digest[:12]}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, operator: str, inputs: Sequence[Any], name: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name. Inputs are values, arrays or
        names."""
        names = [
            each
            if isinstance(each, str)
            else self.name(each)
            if isinstance(each, Value)
            else self.constant(each)
            for each in inputs
        ]
        name = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return name

    def whole(self, value: Value, shape: Sequence[Any]) -> Value:
        """A value with all elements of that shape, where broadcasting was put off."""
        shape = tuple(shape)
        if value.shape == shape:
            return value
        if value.array is not None and _is_fixed(shape):
            return Value(shape, array=np.broadcast_to(value.array, shape))
        if _is_fixed(shape):
            sides = np.array(shape, np.int64)
        else:
            batch = self.node("Shape", [self._first], start=0, end=1)
            if any(side != self._batch for side in shape if not isinstance(side, int)):
                raise Unsupported(f"the shape {shape}")
            parts = [batch if not isinstance(s, int) else np.array([s], np.int64) for s in shape]
            sides = self.node("Concat", parts, axis=0)
        return Value(shape, self.node("Expand", [value, sides]))

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """The axes in another order."""
        order = [int(axis) for axis in order]
        shape = tuple(value.shape[axis] for axis in order)
        if order == list(range(len(order))):
            return value
        if value.array is not None:
            label = value.label and f"{value.label}/axes{''.join(map(str, order))}"
            return Value(shape, array=np.asarray(value.array).transpose(order), label=label)
        return Value(shape, self.node("Transpose", [value], perm=order))

    def reshape(self, value: Value, shape: Sequence[Any]) -> Value:
        """The same elements in another shape, of at most one side that is not fixed."""
        shape = tuple(shape)
        if value.shape == shape:
            return value
        if value.array is not None and _is_fixed(shape):
            return Value(shape, array=np.asarray(value.array).reshape(shape))
        sides = [side if isinstance(side, int) else -1 for side in shape]
        if sides.count(-1) > 1:
            raise Unsupported(f"the shape {shape}")
        return Value(shape, self.node("Reshape", [value, np.array(sides, np.int64)]))

    def take(self, value: Value, axis: int, places: np.ndarray) -> Value:
        """Some elements of an axis, by their places."""
        shape = (*value.shape[:axis], len(places), *value.shape[axis + 1 :])
        return Value(shape, self.node("Gather", [value, places.astype(np.int64)], axis=axis))

    def index(self, value: Value, axis: int, place: int) -> Value:
        """One element of an axis."""
        place = 0 if value.shape[axis] == 1 else place
        shape = value.shape[:axis] + value.shape[axis + 1 :]
        if value.array is not None:
            return Value(shape, array=np.take(value.array, place, axis))
        return Value(shape, self.node("Gather", [value, np.array(place, np.int64)], axis=axis))

    def stack(self, values: Sequence[Value], axis: int, shape: Sequence[Any]) -> Value:
        """Values of one shape side by side on a new axis."""
        shape = tuple(shape)
        one = (*shape[:axis], 1, *shape[axis:])
        parts = [
            self.node("Unsqueeze", [self.whole(value, shape), np.array([axis], np.int64)])
            for value in values
        ]
        one = (*shape[:axis], len(parts), *shape[axis:])
        return Value(one, self.node("Concat", parts, axis=axis))


def _needed(jaxpr):
    """The equations that the outputs depend on."""
    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if needed & set(equation.outvars):
            kept.append(equation)
            needed |= {atom for atom in equation.invars if not isinstance(atom, core.Literal)}
    return kept[::-1]


def _is_fixed(shape):
    return all(isinstance(side, int | np.integer) for side in shape)


def _joint_shape(shapes):
    """Of values of one rank that broadcast."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(
        next((side for side in sides if isinstance(side, int) is False or side != 1), 1)
        for sides in zip(*padded, strict=True)
    )


_CALLS = (
    *("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"),
    *("remat2", "checkpoint", "custom_lin"),
)
"""Primitives that only hold another jaxpr."""


def _maximum(made, equation, values):
    shape = _joint_shape([value.shape for value in values])
    for value, other in (values, values[::-1]):
        if other.array is not None and other.array.ndim == 0 and other.array == 0:
            return Value(shape, made.node("Relu", [value]))
    return Value(shape, made.node("Max", values))


def _rsqrt(made, equation, values):
    (value,) = values
    return Value(value.shape, made.node("Reciprocal", [made.node("Sqrt", [value])]))


def _integer_pow(made, equation, values):
    (value,) = values
    power = equation.params["y"]
    if power == 2:
        return Value(value.shape, made.node("Mul", [value, value]))
    exponent = np.array(power, equation.invars[0].aval.dtype)
    return Value(value.shape, made.node("Pow", [value, exponent]))


def _tanh(made, equation, values):
    (value,) = values
    # From 20 on it is 1 in float32; OpenCV's is NaN from 89 on.
    ends = [np.array(end, equation.invars[0].aval.dtype) for end in (-20, 20)]
    return Value(value.shape, made.node("Tanh", [made.node("Clip", [value, *ends])]))


def _square(made, equation, values):
    return Value(values[0].shape, made.node("Mul", [*values, *values]))


def _is_finite(made, equation, values):
    (value,) = values
    infinity = np.array(np.inf, equation.invars[0].aval.dtype)
    return Value(value.shape, made.node("Less", [made.node("Abs", [value]), infinity]))


def _select(made, equation, values):
    which, no, yes = values
    shape = _joint_shape([value.shape for value in values])
    return Value(shape, made.node("Where", [which, yes, no]))


def _convert(made, equation, values):
    (value,) = values
    if equation.params["new_dtype"] == equation.invars[0].aval.dtype:
        return value
    to = helper.np_dtype_to_tensor_dtype(np.dtype(equation.params["new_dtype"]))
    return Value(value.shape, made.node("Cast", [value], to=to))


def _broadcast(made, equation, values):
    (value,) = values
    shape = [1] * len(equation.params["shape"])
    for side, axis in zip(value.shape, equation.params["broadcast_dimensions"], strict=True):
        shape[axis] = side
    new = [n for n in range(len(shape)) if n not in equation.params["broadcast_dimensions"]]
    if value.array is not None:
        return Value(tuple(shape), array=np.asarray(value.array).reshape(shape))
    if not new:
        return value
    return Value(tuple(shape), made.node("Unsqueeze", [value, np.array(new, np.int64)]))


def _reshape(made, equation, values):
    whole = made.whole(values[0], equation.invars[0].aval.shape)
    return made.reshape(whole, equation.params["new_sizes"])


def _squeeze(made, equation, values):
    (value,) = values
    axes = equation.params["dimensions"]
    shape = tuple(side for n, side in enumerate(value.shape) if n not in axes)
    return Value(shape, made.node("Squeeze", [value, np.array(axes, np.int64)]))


def _transpose(made, equation, values):
    return made.transpose(values[0], equation.params["permutation"])


def _reduce(operator):
    def reduce(made, equation, values):
        (value,), axes = values, [int(axis) for axis in equation.params["axes"]]
        logical = equation.invars[0].aval.shape
        # Only the axes that are gone need all of their elements.
        shape = [logical[n] if n in axes else side for n, side in enumerate(value.shape)]
        value = made.whole(value, shape)
        left = tuple(side for n, side in enumerate(shape) if n not in axes)
        if operator == "ReduceSum":  # takes its axes as an input from version 13 on, alone
            return Value(left, made.node(operator, [value, np.array(axes, np.int64)], keepdims=0))
        return Value(left, made.node(operator, [value], axes=axes, keepdims=0))

    return reduce


def _concatenate(made, equation, values):
    parts = [
        made.whole(value, atom.aval.shape)
        for value, atom in zip(values, equation.invars, strict=True)
    ]
    axis = equation.params["dimension"]
    return Value(equation.outvars[0].aval.shape, made.node("Concat", parts, axis=axis))


def _stack(made, equation, values):
    return made.stack(values, equation.params["axis"], equation.invars[0].aval.shape)


def _slice(made, value, starts, ends, steps):
    """Of the axes that lose anything; each a dictionary by axis, of whole numbers."""
    axes = list(starts)
    if not axes:
        return value
    given = [np.array([each[axis] for axis in axes], np.int64) for each in (starts, ends, steps)]
    shape = list(value.shape)
    for axis in axes:
        shape[axis] = -(-(ends[axis] - starts[axis]) // steps[axis])
    order = [given[0], given[1], np.array(axes, np.int64), given[2]]
    return Value(tuple(shape), made.node("Slice", [value, *order]))


def _static_slice(made, equation, values):
    params, shape = equation.params, equation.invars[0].aval.shape
    steps = params["strides"] or (1,) * len(shape)
    axes = [
        n
        for n, limits in enumerate(
            zip(params["start_indices"], params["limit_indices"], strict=True)
        )
        if limits != (0, shape[n]) or steps[n] != 1
    ]
    parts = [params["start_indices"], params["limit_indices"], steps]
    if not all(_is_fixed([part[n] for part in parts]) for n in axes):
        raise Unsupported("a part of the batch")
    starts, ends, steps = ({n: int(part[n]) for n in axes} for part in parts)
    return _slice(made, made.whole(values[0], shape), starts, ends, steps)


def _unstack(made, equation, values):
    (value,), axis = values, equation.params["axis"]
    return [made.index(value, axis, place) for place in range(len(equation.outvars))]


def _split(made, equation, values):
    axis, shape = equation.params["axis"], equation.invars[0].aval.shape
    whole, begin, parts = made.whole(values[0], shape), 0, []
    for size in map(int, equation.params["sizes"]):
        parts.append(_slice(made, whole, {axis: begin}, {axis: begin + size}, {axis: 1}))
        begin += size
    return parts


def _gather(made, equation, values):
    """What `x[:, 2:5]`, `x[0]` and `x[:, ::2]` are where another axis is symbolic: a slice at a
    fixed place, or fixed places of one axis."""
    value, places = values
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape = equation.invars[0].aval.shape
    value = made.whole(value, shape)
    if places.array is not None and places.array.ndim == 2 and len(numbers.start_index_map) == 1:
        (axis,) = numbers.start_index_map
        others = [n for n in range(len(shape)) if n != axis]
        full = all(sizes[n] == shape[n] for n in others) and sizes[axis] == 1
        if full and (numbers.collapsed_slice_dims, numbers.offset_dims) == ((axis,), tuple(others)):
            return made.take(value, axis, np.asarray(places.array)[:, 0])
    if places.array is None or places.array.ndim != 1 or numbers.operand_batching_dims:
        raise Unsupported("JAX's primitive gather, but for fixed places of one axis")
    starts = {
        axis: int(place)
        for axis, place in zip(numbers.start_index_map, places.array, strict=True)
        if sizes[axis] != shape[axis]
    }
    gone = sorted(numbers.collapsed_slice_dims, reverse=True)
    for axis in gone:
        value = made.index(value, axis, starts.pop(axis, 0))
        starts = {n - (n > axis): place for n, place in starts.items()}
        sizes = (*sizes[:axis], *sizes[axis + 1 :])
    ends = {axis: place + int(sizes[axis]) for axis, place in starts.items()}
    return _slice(made, value, starts, ends, dict.fromkeys(starts, 1))


def _reverse(made, equation, values):
    value = made.whole(values[0], equation.invars[0].aval.shape)
    for axis in equation.params["dimensions"]:
        if not isinstance(value.shape[axis], int):
            raise Unsupported("the batch in reverse")
        value = made.take(value, axis, np.arange(value.shape[axis])[::-1])
    return value


def _pad(made, equation, values):
    config = equation.params["padding_config"]
    if any(low < 0 or high < 0 or between for low, high, between in config):
        raise Unsupported("JAX's primitive pad, but for a border")
    shape = equation.invars[0].aval.shape
    sides = [low for low, _, _ in config] + [high for _, high, _ in config]
    inputs = [made.whole(values[0], shape), np.array(sides, np.int64), values[1]]
    return Value(equation.outvars[0].aval.shape, made.node("Pad", inputs))


def _dot(made, equation, values):
    (left_summed, right_summed), (left_batch, right_batch) = equation.params["dimension_numbers"]
    shapes = [atom.aval.shape for atom in equation.invars]
    # An axis that is summed over needs all of its elements, and so does one that only one has.
    left, right = (made.whole(v, shape) for v, shape in zip(values, shapes, strict=True))
    shape = equation.outvars[0].aval.shape
    if not left_batch and (left_summed, right_summed) == ((len(shapes[0]) - 1,), (0,)):
        return Value(shape, made.node("MatMul", [left, right]))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    names = [["" for _ in shape] for shape in shapes]
    for a, b in zip((*left_batch, *left_summed), (*right_batch, *right_summed), strict=True):
        names[0][a] = names[1][b] = next(letters)
    free = []
    for each in names:
        for axis, name in enumerate(each):
            if not name:
                each[axis] = next(letters)
                free.append(each[axis])
    result = "".join([names[0][axis] for axis in left_batch] + free)
    spec = f"{''.join(names[0])},{''.join(names[1])}->{result}"
    return Value(shape, made.node("Einsum", [left, right], equation=spec))


def _conv(made, equation, values):
    params = equation.params
    images, kernel, result = params["dimension_numbers"]
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
        raise Unsupported("JAX's primitive conv_general_dilated, but for a convolution")
    x, k = (made.whole(v, a.aval.shape) for v, a in zip(values, equation.invars, strict=True))
    x, k = made.transpose(x, images), made.transpose(k, kernel)
    low, high = zip(*params["padding"], strict=True)
    name = made.node(
        "Conv",
        [x, k],
        strides=params["window_strides"],
        pads=[*map(int, low), *map(int, high)],
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    shape = equation.outvars[0].aval.shape
    y = Value(tuple(shape[axis] for axis in result), name)
    return made.transpose(y, np.argsort(result).tolist())


def _max_window(made, equation, values):
    params = equation.params
    window, steps = params["window_dimensions"], params["window_strides"]
    moving = [n for n, side in enumerate(window) if side != 1 or steps[n] != 1]
    still = [n for n in range(len(window)) if n not in moving]
    low, high = zip(*params["padding"], strict=True)
    dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
    if len(still) != 2 or dilated or any(low[n] or high[n] for n in still):
        raise Unsupported("JAX's primitive reduce_window_max, but for a pooling of images")
    order = [*still, *moving]
    x = made.transpose(made.whole(values[0], equation.invars[0].aval.shape), order)
    name = made.node(
        "MaxPool",
        [x],
        kernel_shape=[window[n] for n in moving],
        strides=[steps[n] for n in moving],
        pads=[int(side[n]) for side in (low, high) for n in moving],
    )
    shape = equation.outvars[0].aval.shape
    return made.transpose(Value(tuple(shape[n] for n in order), name), np.argsort(order).tolist())


def _same(made, equation, values):
    return values[0]


_ELEMENTWISE = {
    "add": "Add",
    "add_any": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "min": "Min",
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "exp": "Exp",
    "log": "Log",
    "logistic": "Sigmoid",
    "sqrt": "Sqrt",
    "floor": "Floor",
    "pow": "Pow",
    "erf": "Erf",
    "sin": "Sin",
    "cos": "Cos",
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "and": "And",
    "or": "Or",
    "not": "Not",
}
"""Primitives that are an operator of ONNX by another name."""

_TABLE = {
    "max": _maximum,
    "rsqrt": _rsqrt,
    "tanh": _tanh,
    "integer_pow": _integer_pow,
    "square": _square,
    "is_finite": _is_finite,
    "select_n": _select,
    "convert_element_type": _convert,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "concatenate": _concatenate,
    "stack": _stack,
    "slice": _static_slice,
    "split": _split,
    "unstack": _unstack,  # from JAX 0.12 on
    "gather": _gather,
    "rev": _reverse,
    "pad": _pad,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "reduce_window_max": _max_window,
    "stop_gradient": _same,
    "optimization_barrier": _same,
}
"""The other primitives: what makes nodes of one, out of the graph, the equation and its values."""
