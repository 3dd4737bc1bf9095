KERNEL = "gelu_of_a_row"
REASON = (
    "9216 columns in a block of 16384 leave 44% of the lanes idle, while erf alone takes about as long as the memory. The rows lie one "
    "behind the other, so the array is cut into full tiles. The tail of the normal distribution as a polynomial in "
    "1 / (1 + q |x|) times exp(-x^2 / 2), within 4e-6 of its value, takes fewer instructions than erf and does not cancel."
)
META = {"TILE": [4096, 2048, 8192]}
GRID = "cdiv(grid_0 * N, TILE)"
OPTIONS = {"num_warps": [8, 16]}


@triton.jit
def gelu_of(x):
    k = libdevice.fast_dividef(1.0, tl.abs(x) * 0.3676955262170047 + 1.0)
    r = k * 0.04830031972535905 - 0.17352988637602204
    r = r * k + 0.15538694695932753
    r = r * k + 0.04073956499262352
    r = r * k + 0.13676098620252497
    r = r * k + 0.14560649512625384
    r = r * k + 0.14673613764731927
    tail = r * k * tl.exp2(x * x * -0.7213475204444817)
    return x * tl.where(x < 0, tail, 1 - tail)


def gelu_of_a_row(x_ptr, y_ptr, N, BLOCK: tl.constexpr, GRID_0: tl.constexpr = 1, TILE: tl.constexpr = 4096):
    begin = tl.program_id(0).to(tl.int64) * TILE
    size = tl.cast(N, tl.int64) * GRID_0
    places = begin + tl.arange(0, TILE)
    if begin + TILE <= size:
        x = tl.load(x_ptr + places).to(tl.float32)
        tl.store(y_ptr + places, gelu_of(x).to(y_ptr.dtype.element_ty))
    else:
        x = tl.load(x_ptr + places, mask=places < size, other=0.0).to(tl.float32)
        tl.store(y_ptr + places, gelu_of(x).to(y_ptr.dtype.element_ty), mask=places < size)
