"""The published arithmetic of SD-MAE, written plainly from the method's description: an oracle, and the benchmark's denominator.

Slow on purpose: boolean gathers, every patch embedded, the last head layer applied to each token, attention and GELU spelt out.
Parameters carry the names of the authors' checkpoints, so that their state dicts load. No code is shared with the package.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax, normalize, softmax

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def raster_code(count: int, width: int) -> Tensor:
    """Sine on even, cosine on odd channels, base 10000."""
    code = torch.zeros(count, width, dtype=torch.float64)
    for channel in range(width):
        angle = torch.arange(count).double() / 10000 ** (2 * (channel // 2) / width)
        code[:, channel] = angle.sin() if channel % 2 == 0 else angle.cos()
    return code.float()


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        parts = linear(x, self.qkv.weight, bias).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = (parts[:, :, part].transpose(1, 2) for part in range(3))
        weights = softmax(query @ key.transpose(2, 3) / math.sqrt(width // self.heads), -1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        return self.fc2(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)


class Stack(nn.Module):
    """Blocks and their LayerNorm; the encoder adds a patch embedding, the decoder a pixel head."""

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class LastLayer(nn.Module):
    """Weight-normalised Linear without bias: g · v / |v| per row, the gain g fixed at 1."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=False)
        self.weight_v = nn.Parameter(torch.randn(outputs, width) / math.sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True))


class Head(nn.Module):
    def __init__(self, width: int, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last_layer = LastLayer(bottleneck, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last_layer(normalize(self.mlp(tokens), dim=-1)).mean(1)


class PublishedSDMAE(nn.Module):
    """The network and its loss; `config` holds the argument names of the reference cases' JSON."""

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        width, narrow, self.patch = config["encoder_embed_dim"], config["decoder_embed_dim"], config["patch_size"]
        self.encoder = Stack(width, config["encoder_depth"], config["encoder_num_heads"], config["mlp_ratio"])
        self.encoder.patch_embed = PatchEmbed(self.patch, width)
        self.decoder = Stack(narrow, config["decoder_depth"], config["decoder_num_heads"], config["mlp_ratio"])
        self.decoder.head = nn.Linear(narrow, config["decoder_num_classes"])
        self.encoder_to_decoder = nn.Linear(width, narrow, bias=False)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, narrow))
        sizes = config["dino_hidden_dim"], config["dino_bottleneck_dim"], config["dino_head_dim"]
        self.encoder_proj_head, self.decoder_proh_head = Head(width, *sizes), Head(narrow, *sizes)
        count = (config["img_size"] // self.patch) ** 2
        self.codes = raster_code(count, width), raster_code(count, narrow)

    def forward(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        batch = len(images)
        tokens = self.encoder.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.codes[0]
        encoded = self.encoder(tokens[~mask].reshape(batch, -1, tokens.shape[2]))
        bridged, codes = self.encoder_to_decoder(encoded), self.codes[1].expand(batch, -1, -1)
        seen = bridged + codes[~mask].reshape(batch, -1, codes.shape[2])
        hidden = self.mask_token + codes[mask].reshape(batch, -1, codes.shape[2])
        decoded = self.decoder(torch.cat([seen, hidden], 1))
        visible = seen.shape[1]
        return {
            "pred": self.decoder.head(decoded)[:, visible:],
            "student": self.encoder_proj_head(encoded),
            "teacher": self.decoder_proh_head(decoded[:, :visible]),
        }

    def target(self, images: Tensor, mask: Tensor, normalised: bool) -> Tensor:
        """Pixels of the masked patches, one patch at a time, each channel to mean 0 and variance 1."""
        pixels, size, rows = images * STD + MEAN, self.patch, []
        for image, hidden in zip(pixels, mask, strict=True):
            columns = image.shape[2] // size
            for index in hidden.nonzero()[:, 0].tolist():
                top, left = index // columns * size, index % columns * size
                patch = image[:, top : top + size, left : left + size].permute(1, 2, 0).reshape(-1, 3)
                if normalised:
                    patch = (patch - patch.mean(0)) / (patch.var(0).sqrt() + 1e-6)
                rows.append(patch.reshape(-1))
        return torch.stack(rows).view(len(images), -1, size * size * 3)


class PublishedLoss:
    """p · CE(teacher, student) + (1 - p) · MSE, with the running centre of the teacher's probabilities."""

    def __init__(self, outputs: int, loss: dict[str, float]) -> None:
        self.centre, self.settings = torch.zeros(1, outputs), loss

    def temperature(self, epoch: int) -> float:
        count = int(self.settings["warmup_teacher_temp_epochs"])
        warm = torch.linspace(self.settings["warmup_teacher_temp"], self.settings["teacher_temp"], count, dtype=torch.float64)
        return float(warm[epoch]) if epoch < count else self.settings["teacher_temp"]

    def __call__(self, output: dict[str, Tensor], target: Tensor, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        teacher = softmax((output["teacher"] - self.centre) / self.temperature(epoch), -1)
        distill = -(teacher * log_softmax(output["student"] / 0.1, -1)).sum(-1).mean()
        self.centre = 0.9 * self.centre + 0.1 * teacher.detach().mean(0, keepdim=True)
        reconstruct = ((output["pred"] - target) ** 2).mean()
        p = self.settings["p"]
        return p * distill + (1 - p) * reconstruct, distill, reconstruct
