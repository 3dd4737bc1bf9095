"""Rows reach the launches of a program in Triton's interpreter. The kernels write the BLOCK that they were given."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.process


def test_an_autotuned_kernel_takes_its_row_without_a_benchmark(scene):
    found = scene("autotuned")
    # 512 is a multiple of 128, as the heuristic finds; `count` is reset once, as after Triton's benchmark.
    assert found["first"] == [[1128.0], 4]
    assert found["second"] == [[1128.0], 77 + 4]
    assert found["hooked"] == [128, 128]
    assert found["benched"] == 0


def test_a_key_that_is_not_in_the_table_is_the_autotuners(scene):
    found = scene("autotuned")
    assert found["other"][0] == [64.0]
    assert found["used"] == 2
    assert [line.startswith("tuned: no row for x=500:float32") for line in found["printed"]] == [True]


def test_a_stock_row_is_one_of_the_autotuners_configs(scene):
    own, other = scene("stock_row")
    assert own["with"][0] == [1256.0]
    assert other["with"][0] == [1064.0]
    assert "its config is none of the autotuner's" in other["printed"][0]


@pytest.mark.parametrize("how", ["follows", "by position"])
def test_a_row_changes_a_constant_and_the_programs_grid_follows(scene, how):
    found = scene("follows", how)
    assert (found["before"], found["with"], found["after"]) == ([32.0], [128.0], [32.0])
    assert (found["used"], found["missed"], found["printed"]) == (3, {}, [])


@pytest.mark.parametrize(
    ("how", "reason"), [("closed over", "which the grid function does not read"), ("numbers", "is given as numbers")]
)
def test_a_constant_that_the_grid_does_not_follow_stays(scene, how, reason):
    found = scene("follows", how)
    assert found["with"] == [32.0]
    assert [reason in line for line in found["printed"]] == [True]
    assert found["used"] == 0
    assert sum(found["missed"].values()) == 3


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("function", "in_place: it has changed since the table was made"),
        ("triton", "its rows are for interpreter, Triton 3.0.0, and this is interpreter, Triton 3."),
        ("gpu", "its rows are for NVIDIA H200"),
        ("constant", "sets BLOCKS, which is no compile-time constant"),
        ("block", "cannot be launched (InterpreterError"),
        ("key", "no row for x=512:float32 n=512 seed=7 BLOCK=32"),
        ("unproven", "in_place: 1 unproven row not applied without --unproven"),
    ],
)
def test_a_row_that_does_not_fit_is_named_once_and_not_applied(scene, field, reason):
    found = scene("planted", field)
    assert (found["with"], found["after"]) == ([32.0], [32.0])
    assert reason in found["printed"][0]
    assert len(found["printed"]) == len(set(found["printed"])) <= 2
    assert found["used"] == 0
    assert sum(found["missed"].values()) == 2


def test_edited_code_is_launched_in_the_functions_place(scene):
    found = scene("edited", "as it is")
    # 512 elements in blocks of 64 were 8 programs; now there are two, of four blocks each.
    assert found["with"] == [[8064.0], [8064.0]]
    assert found["after"] == [32.0]
    assert (found["used"], found["printed"]) == (2, [])


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("not allowed", "in_place: 1 row with edited device code not applied: read the code, then apply with --yes"),
        ("other source", "in_place: its edited code is refused: line "),
        ("other hash", "its text is not the one that its hash names"),
        ("comment", "its text is not the one that its hash names"),
        ("other owner", "it was made of other code than this function's"),
        ("value", "TURNS of the variant"),
        ("grid", "hash names"),
        ("comment in the grid", "its text is not the one that its hash names"),
        ("other kernel", "its text is not the one that its hash names"),
    ],
)
def test_edited_code_that_does_not_fit_is_named_once_and_not_launched(scene, what, reason):
    found = scene("edited", what)
    assert found["with"] == [[32.0], [32.0]]
    assert [reason in line for line in found["printed"]] == [True]
    assert found["used"] == 0


def test_unproven_rows_are_applied_if_asked_for(scene):
    assert scene("unproven_allowed")["with"] == [128.0]


def test_between_two_rows_only_what_is_proven_in_both(scene):
    found = scene("between")["found"]
    assert found == {
        "256": [32.0],  # below all rows
        "512": [128.0],
        "700": [64.0],  # proven in both
        "1024": [256.0],
        "1500": [256.0],
        "2048": [256.0],
        "3000": [32.0],  # nothing is proven in both
        "4096": [512.0],
        "5000": [32.0],
    }


def test_a_number_that_varies_does_not_count(scene):
    found = scene("varying")
    assert found["rows"] == 9  # eight seeds, then it is known to vary
    assert found["found"] == [[128.0]] * 3
    assert found["used"] == 3


def test_keys_without_end_are_printed_once_and_hide_no_row(scene):
    found = scene("numbers_without_end")
    assert len(found["printed"]) == 1
    assert found["remembered"] <= 18
    assert found["missed"]["no row for further keys"] == 400 - 16 + 1
    assert found["used"] == 1
    assert sum(found["missed"].values()) == 401


def test_threads_are_counted_and_served_alike(scene):
    found = scene("threads")
    assert found["found"] == [[128.0]]
    assert (found["used"], found["missed"]) == (40, {})


def test_parameters_may_have_any_name(scene):
    found = scene("parameters_named_like_ours")
    assert (found["before"], found["with"], found["used"], found["printed"]) == ([32.0], [128.0], 3, [])


def test_a_program_that_patches_triton_later_sees_each_launch_once_with_its_row(scene):
    found = scene("patched_later")
    assert found["found"] == [[1128.0], [1128.0], [128.0], [128.0]]
    assert found["calls"] == ["tuned", "tuned", "in_place", "in_place"]
    assert (found["used"], found["missed"], found["printed"]) == (4, {}, [])


def test_a_launcher_that_a_program_keeps_follows_the_table_that_is_applied(scene):
    assert scene("launcher_held_over_tables") == [[128.0], [32.0], [64.0]]


def test_a_constant_1_is_not_true_and_heuristics_see_the_programs_grid(scene):
    found = scene("one_for_true")
    assert found["found"] == [[128.0], [128.0], [32.0]]
    assert found["grids"] == [True, True, True]
    assert found["printed"][0].startswith("flagged: no row for MORE=1; the nearest one, ")
    assert "has MORE=True: it is launched" in found["printed"][0]


def test_memory_is_restored_before_a_refused_launch_is_made_as_the_program_has_it(scene):
    found = scene("refused_after_writing")
    assert found["x"] == [2.0, 1.0, 1.0, 1.0]
    assert "cannot be launched (InterpreterError" in found["printed"][0]


def test_memory_that_no_key_describes_is_launched_as_the_program_has_it(scene):
    found = scene("memory_that_cannot_be_read")
    assert found["found"] == [128.0, 32.0, 32.0]
    assert (found["used"], sum(found["missed"].values())) == (1, 3)
    assert found["printed"][0].startswith("any_memory: it could not be looked up (ValueError: nobody may know)")
    assert found["printed"][1].startswith("any_memory: no row for x=float32 grid=[16]")


def test_constants_that_are_data_and_memory_under_another_dtype_find_their_row(scene):
    found = scene("arguments_of_classes")
    assert found["found"] == [128.0, 32.0, 32.0, 32.0, 128.0, 32.0]
    assert found["used"] == 2
    assert "MODE=Mode.SLOW" in found["printed"][0]
    assert found["rebuilt"] == [32.0]


def test_memory_inside_a_descriptor_or_a_tuple_counts_as_the_same(scene):
    found = scene("memory_of_a_descriptor")
    assert found["found"] == [128.0, 32.0, 128.0, 32.0, 128.0]
    assert found["used"] == 3


def test_a_class_between_decorator_and_function_is_asked_for_once(scene):
    served, stock = scene("a_class_between")
    assert (served["with"], served["used"], served["missed"], served["printed"]) == ([128.0], 3, {}, [])
    assert (stock["with"], stock["used"], sum(stock["missed"].values()), stock["printed"]) == ([32.0], 0, 3, [])


def test_what_the_program_passes_to_a_heuristic_counts(scene):
    found = scene("passed_to_a_heuristic")
    assert found["found"] == [128.0, 32.0, 128.0]
    assert found["used"] == 2
    assert "no row for DOUBLED=False" in found["printed"][0]


def test_a_parameter_named_like_an_option_is_both(scene):
    found = scene("parameters_named_like_options")
    assert (found["before"], found["with"], found["after"]) == (402.0, 802.0, 402.0)
    assert (found["used"], found["missed"]) == (3, {})


def test_a_config_of_the_table_has_the_hook_that_all_configs_have_alike(scene):
    found = scene("hooks_made_alike")
    assert found["found"] == [[1.0, 128], [1.0, 128]]
    assert (found["used"], found["missed"], found["printed"]) == (2, {}, [])
