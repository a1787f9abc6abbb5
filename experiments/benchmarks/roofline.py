"""What a program that XLA compiled for a GPU would cost, read off its text.

A kernel takes at least as long as its bytes need at the memory's bandwidth, and at least as long
as its operations need at the peak of the units that do them (Williams, Waterman, Patterson,
"Roofline", 2009). The sum over a program's kernels is a lower bound of its time: it knows no
launch, no cache and no waiting.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

BANDWIDTH = 3.352e12
"""Bytes a second of an H100 SXM5's memory."""
PEAKS = {"highest": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12}
"""Operations a second of an H100 SXM5, without sparsity. `highest` is float32 and everything that
is no product: 132 multiprocessors, 128 lanes, 2 operations, 1.98 GHz. The others are NVIDIA's
"H100 Tensor Core GPU Architecture", Table 2."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one kernel, or of several together."""

    kernels: int = 0
    bytes: int = 0
    """Read and written, each operand and each result once. Of an operand that is only sliced or
    gathered from, the slices; of one that is updated in place, the update."""
    operations: int = 0
    """Besides products; whole numbers count as float32."""
    products: tuple[tuple[str, int], ...] = ()
    """Operations of matrix products by their precision, a key of :data:`PEAKS`."""
    seconds: float = 0.0
    """The roofline's bound."""

    def __add__(self, other: "Cost") -> "Cost":
        both = collections.Counter(dict(self.products))
        both.update(dict(other.products))
        return Cost(
            self.kernels + other.kernels,
            self.bytes + other.bytes,
            self.operations + other.operations,
            tuple(sorted(both.items())),
            self.seconds + other.seconds,
        )

    def times(self, number: int) -> "Cost":
        """Of so many passes."""
        products = tuple((name, number * operations) for name, operations in self.products)
        return Cost(
            number * self.kernels,
            number * self.bytes,
            number * self.operations,
            products,
            number * self.seconds,
        )


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop of the program."""

    depth: int
    """0 for one that is in no other."""
    trips: int | None
    """How often it goes round, if XLA knows."""
    cost: Cost
    """Of one round: its condition and its body, a loop within as often as its trips are known to
    be, and once where they are not; of a condition's branches the one with the most bytes."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program."""

    cost: Cost
    """Of the whole, counted as :attr:`Loop.cost` is."""
    loops: tuple[Loop, ...]
    """In their order, an outer one before those within it."""
    dtypes: tuple[str, ...]
    """Of all arrays, by XLA's names: f32, s32, ..."""
    products: tuple[tuple[str, int], ...]
    """How many matrix products there are of each precision. `default` is left to the device, which
    is TF32 on an H100; `f64` is double."""
    libraries: tuple[tuple[str, int], ...]
    """Calls of libraries, by target, and how many."""


def read(text: str) -> Program:
    """Read a program as `compiled.as_text()` gives it.

    Raises:
      ValueError: it is no scheduled module of XLA's.
    """
    if not text.startswith("HloModule") or "is_scheduled=true" not in text.split("\n", 1)[0]:
        raise ValueError("this is not the text of a scheduled module of XLA's")
    reader = _Reader(dict(_computations(text)))
    entry = re.search(r"^ENTRY %(\S+)", text, re.MULTILINE)[1]
    cost = reader.cost(entry, 0)
    every = [(i, scope) for scope in reader.computations.values() for i in scope.values()]
    return Program(
        cost,
        tuple(reader.loops),
        tuple(sorted({dtype for i, _ in every for dtype, _ in _arrays(i.type)})),
        _counted(_precision(i, scope) for i, scope in every if _is_product(i)),
        _counted(i.called("custom_call_target") for i, _ in every if i.opcode == "custom-call"),
    )


def host_loops(thunks: str) -> int:
    """Loops that the host drives, in the text of a program's sequence of thunks.

    Those in a command buffer, a CUDA graph, go round on the device. Of the others the host
    launches each round, and waits for the device before it where the number of rounds is unknown.
    """
    around: list[tuple[int, str]] = []
    found = 0
    for indent, kind in re.findall(r"^( *)\d+: (k\w+)", thunks, re.MULTILINE):
        while around and around[-1][0] >= len(indent):
            around.pop()
        found += kind == "kWhile" and "kCommandBuffer" not in [outer for _, outer in around]
        around.append((len(indent), kind))
    return found


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    inside: str
    """What stands in its brackets."""
    attributes: str

    def called(self, attribute: str) -> str | None:
        """A name that an attribute gives."""
        found = re.search(rf'\b{attribute}=[%"]([^\s,"}}]+)', self.attributes)
        return found and found[1]


def _computations(text: str) -> Iterator[tuple[str, dict[str, _Instruction]]]:
    for header, body in re.findall(r"^(?:ENTRY )?%(\S+) [^\n]*\{\n(.*?)^\}", text, re.M | re.S):
        found = (_instruction(line) for line in body.splitlines())
        yield header, {each.name: each for each in found if each is not None}


def _instruction(line: str) -> _Instruction | None:
    start = re.match(r"\s+(?:ROOT )?%(\S+) = ", line)
    if start is None:
        return None
    rest = re.sub(r"/\*.*?\*/", "", line[start.end() :])
    end = _closed(rest, 0) if rest.startswith("(") else rest.index(" ")
    opcode = re.match(r"\s*([\w-]+)", rest[end:])
    opens = end + opcode.end()
    closes = _closed(rest, opens)
    inside = rest[opens + 1 : closes - 1]
    operands = tuple(re.findall(r"%([^\s,)]+)", inside))
    return _Instruction(start[1], rest[:end], opcode[1], operands, inside, rest[closes:])


def _closed(text: str, start: int) -> int:
    """The place behind the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place + 1
    raise ValueError(f"a bracket is not closed: {text[:80]}")


def _arrays(type: str) -> list[tuple[str, tuple[int, ...]]]:
    """The arrays of a type: their dtype and shape."""
    found = re.findall(r"\b(pred|bf16|[fsuc]\d+\w*)\[([\d,]*)\]", type)
    return [(dtype, tuple(int(n) for n in sides.split(",") if n)) for dtype, sides in found]


def _bytes(type: str) -> int:
    def width(dtype):
        return 8 if dtype == "pred" else int(re.search(r"\d+", dtype)[0])

    return sum(-(-width(dtype) * math.prod(shape) // 8) for dtype, shape in _arrays(type))


def _elements(type: str) -> int:
    return sum(math.prod(shape) for _, shape in _arrays(type))


_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
"""No kernel of their own."""
_DONE = {"copy-done", "async-done", "async-update"}
"""The end of what was counted at its start."""
_MOVES = _FREE | {
    *("broadcast", "iota", "copy", "reshape", "transpose", "reverse", "slice", "concatenate"),
    *("pad", "gather", "dynamic-slice", "dynamic-update-slice", "bitcast-convert", "fusion"),
    *("custom-call", "optimization-barrier", "dot", "convolution", "call", "copy-start"),
}
"""No operation, or one that is counted as a product."""
_PARTS = {"slice", "dynamic-slice", "gather"}
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}
"""Which operand is the update."""


class _Reader:
    def __init__(self, computations: dict[str, dict[str, _Instruction]]):
        self.computations = computations
        self.loops: list[Loop] = []

    def cost(self, name: str, depth: int) -> Cost:
        """Of one pass of a computation of kernels; its loops are noted down."""
        whole = Cost()
        scope = self.computations[name]
        for each in scope.values():
            if each.opcode == "while":
                whole += self._loop(each, depth)
            elif each.opcode == "conditional":
                branches = re.search(r"branch_computations=\{(.*?)\}", each.attributes)
                names = re.findall(r"%([^\s,]+)", branches[1]) if branches else [
                    each.called(f"{which}_computation") for which in ("true", "false")
                ]  # fmt: skip
                whole += max((self.cost(branch, depth) for branch in names), key=lambda c: c.bytes)
            elif each.opcode in ("call", "async-start"):
                whole += self.cost(each.called("to_apply") or each.called("calls"), depth)
            elif each.opcode not in _FREE | _DONE:
                whole += self._kernel(each, scope)
        return whole

    def _loop(self, loop: _Instruction, depth: int) -> Cost:
        trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
        number = int(trips[1]) if trips else None
        place = len(self.loops)
        once = sum(
            (self.cost(loop.called(part), depth + 1) for part in ("condition", "body")), Cost()
        )
        self.loops.insert(place, Loop(depth, number, once))
        return once.times(1 if number is None else number)

    def _kernel(self, kernel: _Instruction, scope: dict[str, _Instruction]) -> Cost:
        moved = self._traffic(kernel, scope)
        operations, products = self._operations(kernel, scope)
        compute = operations / PEAKS["highest"] + sum(
            number / PEAKS[_unit(precision)] for precision, number in products.items()
        )
        seconds = max(moved / BANDWIDTH, compute)
        return Cost(1, moved, operations, tuple(sorted(products.items())), seconds)

    def _traffic(self, kernel: _Instruction, scope: dict[str, _Instruction]) -> int:
        """Bytes that a kernel reads and writes."""
        body, inputs = {kernel.name: kernel}, {name: scope[name].type for name in kernel.operands}
        if kernel.opcode == "fusion":
            body = self.computations[kernel.called("calls")]
            inputs = {i.name: i.type for i in body.values() if i.opcode == "parameter"}
        written, in_place = _bytes(kernel.type), set()
        for each in body.values():
            if each.opcode in _UPDATES:
                update = each.operands[_UPDATES[each.opcode]]
                size = _bytes(body[update].type if update in body else inputs[update])
                written += size - _bytes(each.type)
                in_place.add(_source(each.operands[0], body))
        readers = collections.defaultdict(list)
        for each in body.values():
            for operand in each.operands:
                if each.opcode != "bitcast":
                    readers[_source(operand, body)].append(each)
        read = 0
        for name, type in inputs.items():
            uses = [each for each in readers[name] if each.opcode not in _UPDATES]
            if name in in_place and not uses:
                continue
            size = _bytes(type)
            if uses and all(_source(each.operands[0], body) == name and each.opcode in _PARTS
                            for each in uses):  # fmt: skip
                size = min(size, sum(_bytes(each.type) for each in uses))
            read += size
        return read + max(written, 0)

    def _operations(
        self, kernel: _Instruction, scope: dict[str, _Instruction]
    ) -> tuple[int, dict[str, int]]:
        """Operations of a kernel, and those of its products by precision."""
        operations, products = 0, collections.Counter()
        body = {kernel.name: kernel}
        if kernel.opcode == "fusion":
            body = scope = self.computations[kernel.called("calls")]
        for each in body.values():
            if each.opcode == "fusion" and each is not kernel:
                inner, of_products = self._operations(each, body)
                operations += inner
                products.update(of_products)
            elif _is_product(each):
                products[_precision(each, scope)] += _product(each, scope)
            elif each.opcode == "reduce":
                operations += _elements(scope[each.operands[0]].type)
            elif each.opcode == "scatter":
                operations += _elements(scope[each.operands[2]].type)
            elif each.opcode not in _MOVES:
                operations += _elements(each.type)
        return operations, dict(products)


def _source(name: str, body: dict[str, _Instruction]) -> str:
    """Whose memory an instruction's is."""
    while name in body and body[name].opcode == "bitcast":
        name = body[name].operands[0]
    return name


def _is_product(each: _Instruction) -> bool:
    if each.opcode == "custom-call":
        return bool(re.match(r"__cublas|__cudnn", each.called("custom_call_target") or ""))
    return each.opcode in ("dot", "convolution")


def _product(each: _Instruction, scope: dict[str, _Instruction]) -> int:
    """Operations: two for each element of the result and each term of its sum."""
    (_, result), *_ = _arrays(each.type)
    shapes = [_arrays(scope[name].type)[0][1] for name in each.operands[:2]]
    found = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][\[{]([\d,"]*)', each.attributes)
    if found:
        terms = math.prod(shapes[0][int(axis)] for axis in re.findall(r"\d+", found[1]))
    else:  # a convolution: the kernel's elements for each of its features
        labels = re.search(r"dim_labels=\w+_(\w+)->", each.attributes)
        features = shapes[1][labels[1].index("o")] if labels else 1
        terms = math.prod(shapes[1]) // features
    return 2 * math.prod(result) * terms


def _precision(each: _Instruction, scope: dict[str, _Instruction]) -> str:
    """Of a product: a key of :data:`PEAKS`, `default` or `f64`."""
    dtypes = {_arrays(scope[name].type)[0][0] for name in each.operands[:2]}
    if dtypes & {"f64", "bf16"}:
        return "f64" if "f64" in dtypes else "bf16"
    asked = re.search(r'operand_precision"?[=:][\[{]"?(\w+)', each.attributes)
    names = {"high": "tf32", "highest": "highest"}
    return names.get(asked[1].lower() if asked else "", "default")


def _unit(precision: str) -> str:
    return {"default": "tf32", "f64": "highest"}.get(precision, precision)


def _counted(names: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(collections.Counter(names).items()))
