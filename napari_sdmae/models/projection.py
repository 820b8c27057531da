"""Self-distillation heads (method, step 5; docs/decisions/0009).

The paper applies the last layer (256 → 4096) to each visible token and averages the logits. The layer is linear, so here the
mean of the normalised bottlenecks passes it once per image, at 1/79 of the cost (224 px, ratio 0.6); logits agree with the
authors' within 3e-7. From the normalisation on, everything is float32: logits are cosines divided by temperatures down to
0.04, where bfloat16's 0.004 becomes 0.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    """Return Linear, GELU, Linear, GELU, Linear; weights truncated normal 0.02, cut at one standard deviation, biases 0."""
    layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, out))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.02, b=0.02)
            nn.init.zeros_(layer.bias)
    return layers


class ProjectionHead(nn.Module):
    """Tokens to logits: MLP, L2-normalisation, weight-normalised Linear without bias whose gain is fixed at 1.

    Every logit is the cosine between a token's bottleneck and the direction of a code, in [-1, 1].
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.mlp = mlp(width, hidden, bottleneck)
        self.last = nn.Linear(bottleneck, outputs, bias=False)  # PyTorch's default initialisation

    def forward(self, tokens: Tensor, per_token: bool = False) -> Tensor:
        """Return logits (B, K), the mean over the tokens (B, N, D), or (B, N, K) of each token.

        The mean is taken before the last layer, which is linear: the same number for 1/N of the work.
        From the normalisation on float32 is used even under autocast: logits are divided by temperatures as small as 0.04.
        """
        bottleneck = self.mlp(tokens)
        with torch.autocast(tokens.device.type, enabled=False):
            directions = F.normalize(bottleneck.float(), dim=-1)
            pooled = directions if per_token else directions.mean(1)
            return F.linear(pooled, F.normalize(self.last.weight.float(), dim=1))


class PredictorHead(nn.Module):
    """The student's prediction of decoder tokens, for regression distances: an MLP to the decoder's width."""

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.mlp = mlp(width, hidden, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return predicted decoder tokens (B, N, outputs) of encoder tokens (B, N, width)."""
        predicted: Tensor = self.mlp(tokens)
        return predicted


class EmbeddingHead(nn.Module):
    """Tokens as directions, to be compared with those of other tokens (the projection of SimCLR, Chen et al. 2020)."""

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))  # PyTorch's initialisation

    def forward(self, tokens: Tensor, per_token: bool = False) -> Tensor:
        """Return unit vectors (B, N, outputs) of tokens (B, N, width), or (B, outputs) of their mean; always float32."""
        embedded = self.mlp(self.norm(tokens if per_token else tokens.mean(1)))
        return F.normalize(embedded.float(), dim=-1)
