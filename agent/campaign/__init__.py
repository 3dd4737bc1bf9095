"""Many problems tuned as one job: a model's layer shapes, ordered by what they can save in a forward pass.

``python -m agent campaign FILE.toml``; :func:`matmul_shapes` lists the products of a PyTorch module.
"""

from agent.campaign.shapes import MatmulShape, matmul_shapes, write_campaign

__all__ = ["MatmulShape", "matmul_shapes", "write_campaign"]
