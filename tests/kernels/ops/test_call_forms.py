"""The quick way from a call to its replay: what differs from the recorded call in anything that matters is refused."""

import gc
import weakref
from contextlib import nullcontext

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode
from triton import knobs

from kernels.ops import call_cache, recorded_call

ROWS, COLUMNS = 8, 16
SIZE = ROWS * COLUMNS


class Recorded:
    """A call ``op(x, w, option)`` that was recorded and learned; its launch notes the stream and addresses."""

    def __init__(self):
        self.x, self.w = torch.randn(SIZE).half().view(ROWS, COLUMNS), torch.randn(COLUMNS).half()
        self.launched = []
        layout = (ROWS, COLUMNS), (COLUMNS, 1), torch.float16
        starts = [lambda stream, pointers: self.launched.append((stream, list(pointers)))]
        self.replay = recorded_call.Replay(starts, layout, [], torch.device("cpu"))
        self.form = call_cache.Form((self.x, self.w, 1.0))
        self.form.learn((self.x, self.w, 1.0), self.replay)

    def taken(self, x=None, w=None, option=1.0):
        """Whether a call goes the quick way. All addresses suggest the one replay."""
        x, w = self.x if x is None else x, self.w if w is None else w
        assert set(self.form.hints.values()) == {self.form.latest}
        return self.form.replay((x, w, option)) is not None


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(call_cache, "current_device", lambda: -1)
    monkeypatch.setattr(recorded_call, "current_stream", lambda device: 7)
    return Recorded()


def test_a_call_like_the_recorded_one_goes_the_quick_way(recorded):
    other = recorded.x.clone()
    out = recorded.form.replay((other, recorded.w, 1.0))
    assert (out.shape, out.stride(), out.dtype) == ((ROWS, COLUMNS), (COLUMNS, 1), torch.float16)
    assert recorded.launched == [(7, [other.data_ptr(), recorded.w.data_ptr(), out.data_ptr()])]


def test_a_call_with_addresses_that_were_never_seen_goes_the_way_of_the_latest(recorded):
    x, w = recorded.x.clone(), recorded.w.clone()
    assert recorded.form.replay((x, w, 1.0)) is not None
    assert recorded.form.replay((x[:4], w, 1.0)) is None
    assert recorded.launched[0][1][:2] == [x.data_ptr(), w.data_ptr()]


def test_calls_of_two_shapes_in_turn_go_their_own_ways(recorded):
    x, w = torch.randn(2 * ROWS, COLUMNS).half(), recorded.w
    layout = tuple(x.shape), x.stride(), x.dtype
    recorded.form.learn((x, w, 1.0), recorded_call.Replay([lambda stream, pointers: None], layout, [], x.device))
    for given in (recorded.x, x, recorded.x, x):
        assert recorded.form.replay((given, w, 1.0)).shape == given.shape


def resized(t):
    t = t.clone()
    t.untyped_storage().resize_(0)
    return t


TENSORS = {
    "dtype": lambda t: t.view(torch.bfloat16),
    "as many bytes": lambda t: t.view(torch.int16),
    "one more dimension": lambda t: t.unsqueeze(0),
    "strides": lambda t: torch.empty(t.shape[::-1]).half().t() if t.dim() == 2 else torch.randn(32).half()[::2],
    "one value": lambda t: t.as_strided(t.shape, [0] * t.dim()),
    "shape": lambda t: t.reshape(4, -1),
    "gradient": lambda t: t.detach().requires_grad_(),
    "misaligned": lambda t: torch.randn(t.numel() + 8).half()[1 : 1 + t.numel()].view(t.shape),
    "negative view": torch._neg_view,
    "zeros without memory": lambda t: torch._efficientzerotensor(t.shape, dtype=t.dtype),
    "freed memory": resized,
    "meta": lambda t: t.to("meta"),
    "functional": torch._to_functional_tensor,
    "sparse": lambda t: t.to_sparse(),
    "parameter": lambda t: torch.nn.Parameter(t, requires_grad=False),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("which", ["x", "w"])
def test_a_tensor_that_differs_is_refused(recorded, which, kind):
    assert recorded.taken()
    assert not recorded.taken(**{which: TENSORS[kind](getattr(recorded, which))})
    assert recorded.taken()


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Hooked:
    """A program's hook, added to Triton's chain or in place of it."""

    def __init__(self, name, chain):
        self.name, self.chain = name, chain

    def __enter__(self):
        self.former = getattr(knobs.runtime, self.name)
        if self.chain:
            self.former.add(print)
        else:
            setattr(knobs.runtime, self.name, print)

    def __exit__(self, *error):
        if self.chain:
            self.former.remove(print)
        else:
            setattr(knobs.runtime, self.name, self.former)


STATES = {
    "dispatch mode": Watching,
    "function mode": torch.overrides.BaseTorchFunctionMode,
    "default device": lambda: DeviceContext("cpu"),
    "profiler": torch.autograd.profiler.profile,
    "forward gradient": forward_ad.dual_level,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "enter hook": lambda: Hooked("launch_enter_hook", chain=True),
    "exit hook": lambda: Hooked("launch_exit_hook", chain=True),
    "enter hook replaced": lambda: Hooked("launch_enter_hook", chain=False),
    "exit hook replaced": lambda: Hooked("launch_exit_hook", chain=False),
}


@pytest.mark.parametrize("state", STATES)
def test_a_thread_that_is_observed_is_refused(recorded, state):
    with STATES[state]():
        assert not recorded.taken()
    assert recorded.taken()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp", "functionalize", "jit trace"])
def test_a_function_transform_is_refused(recorded, transform):
    seen = []

    def note(x):
        seen.append(recorded.form.replay((x, recorded.w, 1.0)))
        seen.append(recorded.form.replay((recorded.x, recorded.w, 1.0)))
        return x.float().sum()

    if transform == "vmap":
        torch.vmap(note)(torch.stack([recorded.x, recorded.x]))
    elif transform == "grad":
        torch.func.grad(note)(recorded.x)
    elif transform == "jvp":
        torch.func.jvp(note, (recorded.x,), (recorded.x,))
    elif transform == "functionalize":
        torch.func.functionalize(note)(recorded.x)
    else:
        torch.jit.trace(note, (recorded.x,), check_trace=False)
    assert seen
    assert all(found is None for found in seen)
    assert recorded.taken()


def test_a_gradient_is_refused_only_while_it_is_wanted(recorded):
    x = recorded.x.detach().requires_grad_()
    with torch.no_grad():
        assert not recorded.taken(x=x)  # the guard of a tensor that does not require a gradient
        recorded.form.hints.clear()
        recorded.form.learn((x, recorded.w, 1.0), recorded.replay)
        assert recorded.taken(x=x)
    assert not recorded.taken(x=x)
    with torch.inference_mode():
        recorded.form.hints.clear()
        recorded.form.learn((x, recorded.w, 1.0), recorded.replay)
        assert recorded.taken(x=x)
        with torch.inference_mode(False):
            assert not recorded.taken(x=x)


def test_inference_mode_learns_a_guard_of_its_own(recorded):
    with torch.inference_mode():
        recorded.form.learn((recorded.x, recorded.w, 1.0), recorded.replay)
        assert recorded.form.replay((recorded.x, recorded.w, 1.0)).is_inference()
    recorded.form.learn((recorded.x, recorded.w, 1.0), recorded.replay)
    assert not recorded.form.replay((recorded.x, recorded.w, 1.0)).is_inference()
    assert len(recorded.replay.guards) == 2


def test_another_current_device_is_refused(recorded, monkeypatch):
    monkeypatch.setattr(call_cache, "current_device", lambda: 1)
    assert not recorded.taken()


def test_the_stream_is_asked_for_at_each_launch(recorded, monkeypatch):
    for stream in (7, 9):
        monkeypatch.setattr(recorded_call, "current_stream", lambda device, stream=stream: stream)
        assert recorded.taken()
    assert [stream for stream, _ in recorded.launched] == [7, 9]


def test_another_option_is_refused(recorded):
    assert not recorded.taken(option=2.0)
    assert recorded.taken()


def test_one_tensor_in_two_places_learns_nothing(monkeypatch):
    x = torch.randn(8).half()
    replay = recorded_call.Replay([lambda stream, pointers: None], ((8,), (1,), x.dtype), [], x.device)
    form = call_cache.Form((x, x))
    form.learn((x, x), replay)
    assert not form.hints
    assert not replay.guards


def test_a_guard_keeps_no_tensor_alive(recorded):
    x = torch.randn(ROWS, COLUMNS).half()
    recorded.form.learn((x, recorded.w, 1.0), recorded.replay)
    seen = weakref.ref(x)
    del x
    gc.collect()
    assert seen() is None


def test_hints_and_guards_are_bounded(recorded, monkeypatch):
    monkeypatch.setattr(call_cache, "MOST_HINTS", 3)
    monkeypatch.setattr(recorded_call, "MOST_GUARDS", 2)
    kept = []
    for rows in range(1, 9):
        kept.append(torch.randn(rows, COLUMNS).half())
        recorded.form.learn((kept[-1], recorded.w, 1.0), recorded.replay)
        assert len(recorded.form.hints) <= 3
        assert len(recorded.replay.guards) <= 2


@pytest.mark.parametrize("positions", [[], [1], [0, 2]])
def test_arguments_are_picked_as_a_tuple(positions):
    values = ("a", "b", "c")
    assert call_cache._picker(positions)(values) == tuple(values[i] for i in positions)


@pytest.fixture
def counted(monkeypatch):
    """An op that counts how often it is made normally, and is recorded although it launches nothing."""
    monkeypatch.setattr(call_cache, "is_current", lambda tensor: True)
    monkeypatch.setattr(call_cache, "current_device", lambda: -1)
    monkeypatch.setattr(recorded_call, "current_stream", lambda device: 0)
    call_cache.forget()

    def op(x, option=1.0, other=None):
        made.append((option, other))
        out = torch.empty_like(x)
        if call_cache._local.recording:
            call_cache._local.recording.starts = [lambda stream, pointers: None]
        return out

    made = []
    call = call_cache.replayed(op)
    call.made = made
    yield call
    call_cache.forget()


def test_options_that_are_equal_but_of_another_type_are_told_apart(counted):
    x = torch.randn(8).half()
    for option in (1.0, 1, True, "1", None):
        before = len(counted.made)
        for _ in range(4):
            counted(x, option)
        assert len(counted.made) == before + 1
        assert type(counted.made[-1][0]) is type(option)


def test_keywords_are_told_from_positions_and_from_one_another(counted):
    x = torch.randn(8).half()
    calls = [
        lambda: counted(x, "other", "b"),
        lambda: counted(x, other="b"),
        lambda: counted(x, option="b"),
        lambda: counted(x, option="other", other="b"),
        lambda: counted(x, "b"),
    ]
    for call in calls:
        for _ in range(3):
            call()
    assert counted.made == [("other", "b"), (1.0, "b"), ("b", None), ("other", "b"), ("b", None)]


def test_a_call_is_not_replayed_after_forget(counted):
    x = torch.randn(8).half()
    for _ in range(3):
        counted(x)
    assert len(counted.made) == 1
    call_cache.forget()
    counted(x)
    assert len(counted.made) == 2


def test_what_was_recorded_before_forget_is_not_kept_by_a_call_that_ends_after_it(counted, monkeypatch):
    x = torch.randn(8).half()
    real = call_cache.Recording.replay

    def late(self, result):
        call_cache.forget()
        return real(self, result)

    monkeypatch.setattr(call_cache.Recording, "replay", late)
    counted(x)
    monkeypatch.undo()
    assert not call_cache._calls


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_results_are_allocated_by_the_function_of_pytorchs_compiler(device):
    assert recorded_call._allocator(torch.device(device)) is getattr(
        torch._C._dynamo.guards, f"_empty_strided_{device}"
    )


@pytest.mark.parametrize("missing", ["TensorGuards", "empty_strided"])
def test_without_pytorchs_own_function_calls_are_still_replayed(counted, monkeypatch, missing):
    if missing == "TensorGuards":
        monkeypatch.setattr(recorded_call, "_TensorGuards", None)
    else:
        monkeypatch.delattr(torch._C._dynamo.guards, "_empty_strided_cpu")
    x = torch.randn(4, 2).half()
    for context in (nullcontext, torch.inference_mode):
        with context():
            found = [counted(x) for _ in range(4)]
            assert all((t.shape, t.stride(), t.dtype) == (x.shape, x.stride(), x.dtype) for t in found)
            assert all(t.is_inference() == torch.is_inference_mode_enabled() for t in found)
    assert len(counted.made) == 1
