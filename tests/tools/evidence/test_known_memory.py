"""What the walk reads: numbers of the inputs, and constants by which warps signal."""

from __future__ import annotations

import numpy as np
import pytest

from tools.evidence.code.assembly import Instruction
from tools.evidence.counts.known_memory import KnownMemory, reads_numbers, signal_of
from tools.evidence.counts.ptx_walk import POINTER_SHIFT


def instruction(opcode, *operands):
    return Instruction(opcode=opcode, operands=operands)


def test_constants_at_constant_places_are_signals():
    assert signal_of(instruction("st.shared.b32", "[global_smem+229552]", "33554689")) == (229552, b"\x01\x01\x00\x02")
    assert signal_of(instruction("st.shared.b32", "[%r3]", "1")) is None
    assert signal_of(instruction("st.shared.b32", "[global_smem]", "%r1")) is None
    assert signal_of(instruction("st.shared.v2.b32", "[global_smem+8]", "{0, 256}")) == (8, b"\0\0\0\0\0\1\0\0")


def test_each_reading_finds_the_next_constant_and_the_last_stays():
    memory = KnownMemory({}, POINTER_SHIFT)
    memory.signal(8, b"\x00\x01")
    memory.signal(8, b"\x03\x03")
    assert [memory.signalled(9, n) for n in (1, 2, 3)] == [1, 3, 3]
    assert memory.signalled(10, 1) is None
    assert memory.signalled(None, 1) is None
    memory.forget()
    assert memory.signalled(8, 1) is None


@pytest.mark.parametrize("vector", [False, True])
def test_numbers_are_read_at_their_addresses(vector):
    memory = KnownMemory({2: np.arange(100, dtype=np.int32)}, POINTER_SHIFT)
    start = 3 << POINTER_SHIFT
    if vector:
        found = memory.load("ld.global.v2.b32", np.arange(32) * 8 + start)
        assert [list(x[:3]) for x in found] == [[0, 2, 4], [1, 3, 5]]
    else:
        assert memory.load("ld.global.b32", start + 4 * 7) == [7]
        assert memory.load("ld.global.b32", start + 4 * 1000) == [99]  # a masked lane's address
    assert memory.load("ld.global.b64", start) == []
    assert memory.load("ld.global.b32", 5 << POINTER_SHIFT) == []
    assert memory.load("ld.global.b32", None) == []


def test_floats_are_no_numbers():
    assert reads_numbers("ld.global.b32")
    assert reads_numbers("ld.global.L1::evict_last.v4.b32")
    assert not reads_numbers("ld.shared.b32")


PTX = """
.visible .entry k(
	.param .u64 .ptr .global .align 1 k_param_0
)
{
	ld.shared.b8 	%r1, [global_smem+4];
	$L_brx_0: .branchtargets
		$L__BB0_1,
		$L__BB0_2;
	brx.idx 	%r1, $L_brx_0;
$L__BB0_1:
	add.s32 	%r2, %r1, 1;
	ret;
$L__BB0_2:
	ret;
}
"""


def test_a_jump_table_is_read_where_its_label_stands_on_the_same_line():
    from tools.evidence.code.ptx_code import read_ptx

    (switch,) = (x for x in read_ptx(PTX).code.instructions if x.flow == "switch")
    assert switch.targets == ("$L__BB0_1", "$L__BB0_2")


def test_the_disassemblers_comment_names_a_jumps_targets():
    from tools.evidence.code.sass_code import _instruction

    told = 'R2 -0x190                      (*"BRANCH_TARGETS .L_x_2,.L_x_65"*)'
    assert _instruction("BRX", told, "", None).targets == (".L_x_2", ".L_x_65")
    assert _instruction("BRX", "R2 `(.L_x_7)", "", None).targets == (".L_x_7",)
