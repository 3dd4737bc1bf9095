"""The matrix products of a module."""

import torch

from agent.campaign import MatmulShape, matmul_shapes, write_campaign
from agent.campaign.plan import read_campaign


class Block(torch.nn.Module):
    """Three linear layers and two batched products."""

    def __init__(self):
        super().__init__()
        self.q = torch.nn.Linear(64, 64, bias=False)
        self.up = torch.nn.Linear(64, 128)
        self.down = torch.nn.Linear(128, 64, bias=False)

    def forward(self, x):
        x = self.q(self.q(x))
        return self.down(torch.relu(self.up(x))) + (x @ x.transpose(-1, -2)) @ x


EXAMPLE = [torch.empty(2, 16, 64, dtype=torch.bfloat16)]


def test_linear_layers_are_products_with_a_transposed_weight():
    found = matmul_shapes(Block().to(torch.bfloat16), EXAMPLE)
    assert MatmulShape(32, 64, 64, "bf16", "col", bias=False, batch=1, count=2) in found
    assert MatmulShape(32, 128, 64, "bf16", "col", bias=True, batch=1, count=1) in found
    assert [s.batch for s in found].count(2) == 2
    work = [s.batch * s.M * s.N * s.K * s.count for s in found]
    assert work == sorted(work, reverse=True)


def test_a_module_without_weights_will_do():
    with torch.device("meta"):
        module = Block().to(torch.bfloat16)
    assert matmul_shapes(module, EXAMPLE) == matmul_shapes(Block().to(torch.bfloat16), EXAMPLE)


def test_the_file_names_what_can_be_tuned_and_mentions_the_rest(tmp_path):
    path = tmp_path / "block.toml"
    write_campaign(path, "block", matmul_shapes(Block().to(torch.bfloat16), EXAMPLE))
    plan = read_campaign(path)
    assert {(p.shape, p.count, p.options.get("bias", False)) for p in plan.problem} == {
        ((32, 64, 128), 1, False),
        ((32, 128, 64), 1, True),
        ((32, 64, 64), 2, False),
    }
    assert path.read_text().count("# not tuned") == 2


def test_other_dtypes_are_listed_and_not_tuned():
    [shape, *_] = matmul_shapes(torch.nn.Linear(8, 8), [torch.empty(4, 8)])
    assert (shape.dtype, shape.tunable) == ("float32", False)


def test_an_encoder_layer_in_eval_mode_shows_its_products():
    layer = torch.nn.TransformerEncoderLayer(64, 4, batch_first=True).half().eval()
    shapes = matmul_shapes(layer, [torch.empty(2, 8, 64).half()])
    assert {(s.M, s.N, s.K) for s in shapes if s.batch == 1} == {
        (16, 192, 64),
        (16, 64, 64),
        (16, 2048, 64),
        (16, 64, 2048),
    }


def test_a_product_of_nothing_is_not_tuned():
    (shape,) = matmul_shapes(torch.nn.Linear(16, 32).half(), [torch.empty(0, 16).half()])
    assert not shape.tunable
