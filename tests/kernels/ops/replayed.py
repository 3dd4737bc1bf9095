"""Call the ops on CPU tensors as if they lay on an H200, with Triton's own launcher up to the C function it ends in,
which here notes its arguments; print what was found as JSON.

A child process of its own, because Triton keeps the first driver it was given."""

import json
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia
from triton.runtime import driver

from kernels import ops
from kernels.hardware import hardware_named
from kernels.ops import call_cache, operators, recorded_call

STREAM = 5
ended: list = []
"""Arguments of each call of the C function."""
front: list = []
"""Triton's front end, once for each time it was gone through."""
mapped: list = []
"""Addresses for which a descriptor was encoded."""


class End:
    """The C function."""

    def __call__(self, *args):
        ended.append(args)


def encode(pointer, *rest):
    mapped.append(pointer)
    return ("map", pointer, *(tuple(r) if isinstance(r, list | tuple | torch.Size) else r for r in rest))


END = End()
UTILS = SimpleNamespace(
    launch=END,
    build_signature_metadata=tuple,
    fill_tma_descriptor=encode,
    fill_tma_descriptor_tiled=encode,
    load_binary=lambda name, kernel, shared, device: (1, 77, 32, 0, 1024),
    unload_module=lambda module: None,
    get_device_properties=lambda device: {"max_shared_mem": 232448},
)


class Launcher(nvidia.CudaLauncher):
    def __call__(self, *args):
        front.append(args)
        return super().__call__(*args)


Launcher.__name__ = "CudaLauncher"
Launcher.__module__ = nvidia.__name__


class Driver:
    utils = UTILS
    launcher_cls = Launcher

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return STREAM

    def allocate_default_profile_scratch(self, size, align, stream):
        return None


def pretend():
    nvidia.PyKernelArg = lambda nested_tuple, type: (nested_tuple, type)
    nvidia.ARG_CONSTEXPR, nvidia.ARG_KERNEL, nvidia.ARG_TUPLE = 0, 1, 2
    if hasattr(nvidia, "compile_module_from_src"):
        nvidia.compile_module_from_src = lambda **_: SimpleNamespace(launch=END)
        nvidia.library_dirs = list
    driver.set_active(Driver())
    operators.hardware_of = lambda device: hardware_named("H200")
    recorded_call.current_stream = lambda device: STREAM
    on_this_gpu()


def on_this_gpu():
    call_cache.is_current = lambda tensor: True
    call_cache.current_device = lambda: -1


def called(op, *args, **kwargs):
    """The result of a call, and the roads it took: how often Triton's front end, how often its end was reached."""
    front.clear()
    ended.clear()
    mapped.clear()
    out = op(*args, **kwargs)
    return out, (len(front), len(ended))


def plain(value, names):
    """An argument of the C function with addresses by name and what only hooks read left out."""
    if isinstance(value, torch.Tensor):
        value = value.data_ptr()
    if isinstance(value, tuple | list):
        return [plain(v, names) for v in value]
    if type(value).__name__ in ("HookChain", "LazyDict"):
        return None
    return names.get(value, value) if type(value) is int else value


def normal(*shape):
    return torch.randn(shape).half()


def cases():
    x, w, v = (lambda: normal(8, 256)), (lambda: normal(256, 64)), (lambda: normal(256))
    yield "softmax", ops.softmax, lambda: (x(),)
    yield "rms_norm", ops.rms_norm, lambda: (x(), v(), 1e-5)
    yield "layer_norm", ops.layer_norm, lambda: (normal(2, 3, 256), v(), v())
    yield "swiglu", ops.swiglu, lambda: (x(), x())
    yield "matmul by descriptors", ops.matmul, lambda: (x(), w())
    yield "fused_matmul with a bias", ops.fused_matmul, lambda: (x(), w(), normal(64), "relu")
    yield "fused_matmul of columns", ops.fused_matmul, lambda: (x(), normal(64, 256).t())
    yield "fused_matmul by pointers", ops.fused_matmul, lambda: (normal(1, 33), normal(33, 17))
    yield "attention", ops.attention, lambda: (normal(1, 2, 64, 64), normal(1, 1, 64, 64), normal(1, 1, 64, 64), True)
    yield "conv2d by boxes", ops.conv2d, lambda: (normal(2, 8, 8, 16), normal(32, 3, 3, 16), normal(32), 1, 1)
    yield "conv2d by pointers", ops.conv2d, lambda: (normal(2, 8, 8, 16), normal(32, 3, 3, 16), normal(32), 2, 1)


def same_launches():
    """Per op: the roads of three calls on different tensors, and of a fourth on those of the third, which is not looked
    up by its key; and whether the C function was given the same."""
    found = {}
    for name, op, make in cases():
        roads, launches, kept = [], [], []
        calls = [make() for _ in range(3)]
        for args in (*calls, calls[-1]):
            with lookups() as looked_up:
                out, road = called(op, *args)
            kept.append((args, out))  # so that no address is used twice
            names = {t.data_ptr(): f"input {i}" for i, t in enumerate(args) if isinstance(t, torch.Tensor)}
            names[out.data_ptr()] = "result"
            roads.append(road)
            launches.append([plain(value, names) for args in ended for value in args])
        shapes = {tuple(out.shape) for _, out in kept}
        text = json.dumps(launches[0])
        found[name] = {
            "roads": roads,
            "same": launches[0] == launches[1] == launches[2] == launches[3],
            "quick": not looked_up,
            "shapes": len(shapes),
            "named": all(f"input {i}" in text for i, t in enumerate(kept[0][0]) if isinstance(t, torch.Tensor)),
            "result": "result" in text,
            "stream": STREAM in ended[0],
        }
    return found


@contextmanager
def lookups():
    """Yields a list of the calls that are looked up by their keys."""
    real, seen = call_cache.key, []
    call_cache.key = lambda *args: (seen.append(args), real(*args))[1]
    try:
        yield seen
    finally:
        call_cache.key = real


def roads():
    """The road that each kind of call takes, after a plain call of the same shapes has been recorded."""
    x, weight = normal(8, 256), normal(256)
    wide = normal(8, 512)
    loose = normal(8 * 256 + 8)
    found = {}

    def note(name, call):
        for _ in range(2):
            called(ops.rms_norm, x, weight)
        found[name] = called(call)[1]

    note("plain", lambda: ops.rms_norm(x, weight))
    note("parameter", lambda: torch.no_grad()(ops.rms_norm)(x, torch.nn.Parameter(weight)))
    note("inference", lambda: torch.inference_mode()(ops.rms_norm)(x, weight))
    note("gradient", lambda: ops.rms_norm(x, weight.clone().requires_grad_()))
    note("misaligned", lambda: ops.rms_norm(loose[1 : 1 + 8 * 256].view(8, 256), weight))
    wanting = x.detach().requires_grad_()
    note("no gradient wanted", lambda: torch.no_grad()(ops.rms_norm)(wanting, weight))
    note("no gradient wanted again", lambda: torch.no_grad()(ops.rms_norm)(wanting, weight))
    note("then wanted", lambda: ops.rms_norm(wanting, weight))
    note("autocast", lambda: within(torch.autocast("cpu", dtype=torch.bfloat16), ops.rms_norm, x, weight))
    note("default device", lambda: within(torch.device("cpu"), ops.rms_norm, x, weight))
    note("traced by make_fx", lambda: make_fx(lambda x, w: ops.rms_norm(x, w))(x, weight))
    note("keywords", lambda: ops.rms_norm(x, weight=weight))
    note("keywords again", lambda: ops.rms_norm(x, weight=weight))
    note("keywords once more", lambda: ops.rms_norm(x, weight=weight))
    note("other eps", lambda: ops.rms_norm(x, weight, 0.5))
    note("other eps again", lambda: ops.rms_norm(x, weight, 0.5))
    note("other rows", lambda: ops.rms_norm(normal(9, 256), weight))
    note("strided", lambda: ops.rms_norm(wide[:, :256], weight))
    note("strided again", lambda: ops.rms_norm(wide[:, :256], weight))
    note("subclass", lambda: ops.rms_norm(x.as_subclass(Own), weight))
    note("dispatch mode", lambda: within(Watching(), ops.rms_norm, x, weight))
    note("function mode", lambda: within(torch.overrides.BaseTorchFunctionMode(), ops.rms_norm, x, weight))
    note("profiler", lambda: within(torch.autograd.profiler.profile(), ops.rms_norm, x, weight))
    note("compiled", lambda: torch.compile(ops.rms_norm, backend="aot_eager", fullgraph=True)(x, weight))
    note("forward gradient", lambda: within(torch.autograd.forward_ad.dual_level(), ops.rms_norm, x, weight))

    def hooked():
        knobs.runtime.launch_enter_hook.add(hook)
        try:
            return ops.rms_norm(x, weight)
        finally:
            knobs.runtime.launch_enter_hook.remove(hook)

    seen = []

    def hook(metadata):
        seen.append(metadata)

    note("hook", hooked)
    call_cache.current_device = lambda: 1
    call_cache.is_current = lambda tensor: False
    note("other device", lambda: ops.rms_norm(x, weight))
    on_this_gpu()
    once = normal(7, 256)
    called(ops.swiglu, once, once)
    found["one tensor twice"] = called(ops.swiglu, once, once)[1]
    called(ops.swiglu, once, normal(7, 256))
    found["then two tensors"] = called(ops.swiglu, normal(7, 256), once)[1]
    found["then one again"] = called(ops.swiglu, once, once)[1]
    found["other operations"] = unlike_others(x)
    ops.use(None)
    found["after use()"] = called(ops.rms_norm, x, weight)[1]
    with FakeTensorMode() as mode:
        found["fake"] = called(ops.rms_norm, mode.from_tensor(x), mode.from_tensor(weight))[1]
    return found


def unlike_others(x):
    """The roads of three calls of an op that fills a buffer before it launches: a replay would not."""
    spec = operators.spec_of("softmax")
    real = spec.launch

    def launch(problem, config, inputs, out, hardware):
        out.zero_()
        real(problem, config, inputs, out, hardware)

    spec.launch = launch
    call_cache.forget()
    try:
        return [called(ops.softmax, x)[1] for _ in range(3)]
    finally:
        del spec.launch


def through_workspace(x):
    """The roads of three calls of an op that launches twice, by way of memory of its own; and whether the launches
    read and write what they should."""
    spec = operators.spec_of("softmax")
    real = spec.launch

    def launch(problem, config, inputs, out, hardware):
        between = torch.empty(out.shape, dtype=out.dtype, device=out.device)
        real(problem, config, inputs, between, hardware)
        real(problem, config, (between,), out, hardware)

    spec.launch = launch
    call_cache.forget()
    try:
        roads, chained = [], []
        for _ in range(3):
            given = x.clone()
            out, road = called(ops.softmax, given)
            names = {given.data_ptr(): "input", out.data_ptr(): "result"}
            first, second = ([v for v in flat(plain(args, names)) if isinstance(v, str | int)] for args in ended)
            roads.append(road)
            chained.append("input" in first and "result" not in first and "result" in second and "input" not in second)
            chained.append(any(v in second for v in first if isinstance(v, int) and v > 2**32))
        return {"roads": roads, "chained": all(chained)}
    finally:
        del spec.launch


def flat(value):
    return [v for part in value for v in flat(part)] if isinstance(value, list) else [value]


def within(context, op, *args):
    with context:
        return op(*args)


class Own(torch.Tensor):
    pass


class Watching(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def descriptors():
    """How many addresses are encoded for a replay with other tensors than the recorded ones, and for one more."""
    called(ops.matmul, normal(8, 256), normal(256, 64))
    args = normal(8, 256), normal(256, 64)
    first, _ = called(ops.matmul, *args)
    others = len(mapped)
    second, _ = called(ops.matmul, *args)
    return {"others": others, "same inputs": len(mapped), "results differ": first.data_ptr() != second.data_ptr()}


def main():
    pretend()
    json.dump(
        {
            "cases": same_launches(),
            "roads": roads(),
            "descriptors": descriptors(),
            "workspace": through_workspace(normal(8, 256)),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
