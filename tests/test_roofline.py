"""The reader of XLA's text, on programs written by hand: every figure can be added up here."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import roofline
from experiments.benchmarks.roofline import BANDWIDTH, PEAKS

HEAD = "HloModule by_hand, is_scheduled=true, entry_computation_layout={()->()}\n\n"

PRODUCT = """
%product_computation (p0: f32[4,2000,3000], p1: f32[4,3000,1000]) -> f32[4,2000,1000] {
  %p0 = f32[4,2000,3000]{2,1,0} parameter(0)
  %p1 = f32[4,3000,1000]{2,1,0} parameter(1)
  %dot.1 = f32[4,2000,1000]{2,1,0} dot(%p0, %p1), lhs_batch_dims={0}, lhs_contracting_dims={2}, \
rhs_batch_dims={0}, rhs_contracting_dims={1}, operand_precision={high,high}
  ROOT %negate.1 = f32[4,2000,1000]{2,1,0} negate(%dot.1)
}

ENTRY %main (a: f32[4,2000,3000], b: f32[4,3000,1000]) -> f32[4,2000,1000] {
  %a = f32[4,2000,3000]{2,1,0} parameter(0)
  %b = f32[4,3000,1000]{2,1,0} parameter(1)
  ROOT %fusion = f32[4,2000,1000]{2,1,0} fusion(%a, %b), kind=kCustom, calls=%product_computation
}
"""

LOOP = """
%body (state: (s32[], f32[100], f32[7,100])) -> (s32[], f32[100], f32[7,100]) {
  %state = (s32[], f32[100]{0}, /*index=2*/f32[7,100]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[100]{0} get-tuple-element(%state), index=1
  %rows = f32[7,100]{1,0} get-tuple-element(%state), index=2
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %y = f32[100]{0} multiply(%x, %x)
  %flat = f32[1,100]{1,0} bitcast(%y)
  %after = f32[7,100]{1,0} dynamic-update-slice(%rows, %flat, %i, %one)
  ROOT %tuple = (s32[], f32[100]{0}, f32[7,100]{1,0}) tuple(%next, %y, %after)
}

%condition (state: (s32[], f32[100], f32[7,100])) -> pred[] {
  %state.1 = (s32[], f32[100]{0}, f32[7,100]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  %end = s32[] constant(7)
  ROOT %less = pred[] compare(%i.1, %end), direction=LT
}

ENTRY %main (start: (s32[], f32[100], f32[7,100])) -> (s32[], f32[100], f32[7,100]) {
  %start = (s32[], f32[100]{0}, f32[7,100]{1,0}) parameter(0)
  ROOT %while = (s32[], f32[100]{0}, f32[7,100]{1,0}) while(%start), condition=%condition, \
body=%body, backend_config={"known_trip_count":{"n":"7"}}
}
"""

SLICES = """
%windows (p0: f32[1000,8], p1: s32[2]) -> f32[2,8] {
  %p0 = f32[1000,8]{1,0} parameter(0)
  %p1 = s32[2]{0} parameter(1)
  ROOT %gather.1 = f32[2,8]{1,0} gather(%p0, %p1), slice_sizes={1,8}
}

ENTRY %main (table: f32[1000,8], rows: s32[2], m: bf16[16,32]) -> f32[] {
  %table = f32[1000,8]{1,0} parameter(0)
  %rows = s32[2]{0} parameter(1)
  %m = bf16[16,32]{1,0} parameter(2)
  %fusion = f32[2,8]{1,0} fusion(%table, %rows), kind=kLoop, calls=%windows
  %call = (f32[16,16]{1,0}, s8[64]{0}) custom-call(%m, %m), \
custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":\
{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["1"]},\
"precision_config":{"operand_precision":["DEFAULT","DEFAULT"]}}}
  %zero = f32[] constant(0)
  ROOT %sum = f32[] reduce(%fusion, %zero), dimensions={0,1}, to_apply=%add
}
"""


def test_a_product_is_bound_by_its_operations_and_a_fusion_reads_and_writes_once():
    program = roofline.read(HEAD + PRODUCT)
    operations = 2 * 4 * 2000 * 3000 * 1000
    assert program.cost.kernels == 1
    assert program.cost.bytes == 4 * 4 * (2000 * 3000 + 3000 * 1000 + 2000 * 1000)
    assert program.cost.products == (("tf32", operations),)
    assert program.cost.operations == 4 * 2000 * 1000
    slowest = operations / PEAKS["tf32"] + 8e6 / PEAKS["highest"]
    assert program.cost.seconds == pytest.approx(slowest)
    assert slowest > program.cost.bytes / BANDWIDTH
    assert program.products == (("tf32", 1),)
    assert program.dtypes == ("f32",)


def test_a_loop_counts_as_often_as_it_goes_round_and_an_update_in_place_is_the_update():
    program = roofline.read(HEAD + LOOP)
    (loop,) = program.loops
    assert (loop.depth, loop.trips) == (0, 7)
    # compare, add, multiply, and the update with its two places.
    assert loop.cost.kernels == 4
    assert loop.cost.bytes == (4 + 4 + 1) + 3 * 4 + 2 * 400 + (2 * 400 + 2 * 4)
    assert loop.cost.operations == 1 + 1 + 100
    assert program.cost.bytes == 7 * loop.cost.bytes
    assert program.cost.seconds == pytest.approx(7 * loop.cost.seconds)
    assert program.dtypes == ("f32", "pred", "s32")


def test_a_loop_of_unknown_length_counts_once_and_is_known_by_it():
    program = roofline.read(HEAD + LOOP.replace("known_trip_count", "other"))
    assert program.loops[0].trips is None
    assert program.cost == program.loops[0].cost


def test_what_is_gathered_counts_and_not_the_table_and_a_library_call_is_a_product():
    program = roofline.read(HEAD + SLICES)
    assert program.cost.kernels == 3
    gathered, gemm = 64 + 8 + 64, 1024 + 1024 + 64  # an operand that is there twice is read once
    assert program.cost.bytes == gathered + gemm + (64 + 4 + 4)
    assert program.cost.products == (("bf16", 2 * 16 * 16 * 32),)
    assert program.libraries == (("__cublas$gemm", 1),)


def test_precision_that_nobody_asked_for_and_float64_have_names_of_their_own():
    left = PRODUCT.replace(", operand_precision={high,high}", "")
    assert roofline.read(HEAD + left).products == (("default", 1),)
    double = roofline.read(HEAD + PRODUCT.replace("f32", "f64"))
    assert double.products == (("f64", 1),)
    assert double.dtypes == ("f64",)


def test_of_a_conditions_branches_the_dearest_counts():
    @jax.jit
    def program(x, i):
        return jax.lax.cond(i > 0, lambda x: jnp.sin(x) @ x, lambda x: x, x)

    x = jnp.ones((64, 64))
    text = program.lower(x, 1).compile().as_text()  # a CPU's, in the same words
    assert roofline.read(text).cost.bytes > 3 * x.nbytes


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="scheduled module"):
        roofline.read("ENTRY %main")


THUNKS = """\
000: kCommandBuffer [source       | next=007 (1)]
    001: kCopy         [source       | sink        ] kCopy
002: kWhile         [prev=000 (1) | next=044 (1)]
condition:
    003: kCustomKernel [source | sink] less grid: [1, 1, 1]
  body:
    000: kCommandBuffer [source       | next=021 (1)]
        004: kWhile        [prev=001 (1) | sink        ]
condition:
            005: kCustomKernel [source | sink] less grid: [1, 1, 1]
          body:
            006: kCopy         [source       | sink        ] kCopy
    007: kWhile         [prev=000 (1) | next=044 (1)]
"""


def test_a_loop_in_a_command_buffer_is_not_the_hosts():
    assert roofline.host_loops(THUNKS) == 2
    assert roofline.host_loops(THUNKS[:90]) == 0
