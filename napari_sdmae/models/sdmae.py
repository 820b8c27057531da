"""SD-MAE: a masked autoencoder whose encoder is also taught by its own decoder, in the order of the paper.

Luo, Chen, Zhou, Hu, Gao: "Self-distillation augmented masked autoencoders for histopathological image understanding",
arXiv 2203.16983, BIBM 2023.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from napari_sdmae.config.pretrain import LossConfig, ModelConfig
from napari_sdmae.models.decoder import Decoder
from napari_sdmae.models.encoder import build_encoder, encode_visible, freeze_key_bias
from napari_sdmae.models.masking import num_masked_in
from napari_sdmae.models.patches import gather_tokens, patchify, split_mask, standardise
from napari_sdmae.models.projection import EmbeddingHead, PredictorHead, ProjectionHead


class Split(NamedTuple):
    """Which patches are visible.

    Attributes
    ----------
    visible, masked
        Their raster indices, (B, V) and (B, M).
    grid
        Rows and columns of patches, V + M in all.
    """

    visible: Tensor
    masked: Tensor
    grid: tuple[int, int]

    @property
    def positions(self) -> Tensor:
        """Where each patch (B, V + M) stands among the decoder's tokens, of which the visible ones come first."""
        return torch.cat([self.visible, self.masked], 1).argsort(1)


class SDMAEOutput(NamedTuple):
    """What the model computes; the loss is elsewhere.

    Attributes
    ----------
    reconstruction
        Predicted pixel targets of the masked patches in raster order, (B, M, P·P·3).
    student, teacher
        Logits of the encoder and decoder branch, (B, K) averaged over the visible patches or (B, N, K) of each; with embedding
        heads directions instead of logits; with a predictor head predicted and true decoder tokens (B, V, D). None when the
        heads were not asked for.
    """

    reconstruction: Tensor
    student: Tensor | None
    teacher: Tensor | None


class SDMAE(nn.Module):
    """SD-MAE on a plain timm vision transformer.

    Parameters
    ----------
    config
        The architecture.

    Raises
    ------
    ValueError
        If the encoder does not exist in timm, is not plain, or sizes do not fit together.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        width = int(self.encoder.embed_dim)
        self.encoder_to_decoder = nn.Linear(width, config.decoder_width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.decoder = Decoder(config, int(self.encoder.num_prefix_tokens))
        self.student_head, self.teacher_head = _heads(config, width)
        self.register_buffer("mean", _per_channel(config.mean), persistent=False)
        self.register_buffer("std", _per_channel(config.std), persistent=False)
        self._initialise()
        freeze_key_bias(self)

    @classmethod
    def empty(cls, config: ModelConfig) -> Self:
        """Return a model whose weights are yet to be loaded: without the seconds that random numbers take."""
        with torch.device("meta"):
            model = cls(config)
        model.to_empty(device="cpu")
        model.mean, model.std = _per_channel(config.mean), _per_channel(config.std)
        freeze_key_bias(model)  # the parameters are new
        return model

    def forward(
        self,
        images: Tensor,
        mask: Tensor,
        masked: int | None = None,
        per_token: bool = False,
        heads: bool = True,
        pair_indices: tuple[Tensor, Tensor] | None = None,
    ) -> SDMAEOutput:
        """Encode the visible patches, decode all, and project both branches.

        Parameters
        ----------
        images
            Normalised images, (B, 3, H, W); H and W multiples of the patch, of the tile size or any other.
        mask
            bool, (B, L), True = masked, the same number in each row.
        masked
            That number M, when known. Without it the mask is read on the host, which makes a GPU wait.
        per_token
            Return logits of each visible patch instead of their mean.
        heads
            Compute student and teacher; not needed for reconstruction alone.
        pair_indices
            Raster indices (B, K) of the visible patches whose student, and (B, K) of any patches whose teacher is returned behind
            those of the mean of the visible ones: (B, 1 + K, D) each. For the contrast; K may be 0.

        Returns
        -------
        SDMAEOutput
            Reconstruction, student and teacher.

        Raises
        ------
        ValueError
            If the mask does not fit the image, or its rows hide different numbers of patches.
        """
        patches = self.split(images, mask, masked)
        encoded = self.forward_encoder(images, patches)
        decoded, reconstruction = self.forward_decoder(encoded, patches)
        if not heads:
            return SDMAEOutput(reconstruction, None, None)
        return SDMAEOutput(reconstruction, *self.forward_heads(encoded, decoded, patches, per_token, pair_indices))

    def split(self, images: Tensor, mask: Tensor, masked: int | None = None) -> Split:
        """Return which patches of the images are visible and which are masked; parameters and errors as of :meth:`forward`."""
        size = self.config.patch_size
        grid = images.shape[-2] // size, images.shape[-1] // size
        if mask.shape != (len(images), grid[0] * grid[1]):
            raise ValueError(
                f"mask of shape {tuple(mask.shape)} does not fit {len(images)} images of {grid[0]} x {grid[1]} patches; "
                f"expected {(len(images), grid[0] * grid[1])}"
            )
        return Split(*split_mask(mask, num_masked_in(mask) if masked is None else masked), grid)

    def forward_encoder(self, images: Tensor, patches: Split) -> Tensor:
        """Return the encoder's tokens of the visible patches, (B, prefix + V, E); class and register tokens first."""
        return encode_visible(self.encoder, patchify(images, self.config.patch_size), patches.visible, patches.grid)

    def forward_decoder(self, encoded: Tensor, patches: Split) -> tuple[Tensor, Tensor]:
        """Return the decoder's tokens (B, V + M, D), visible ones first, and the masked pixels (B, M, P·P·3)."""
        decoded: tuple[Tensor, Tensor] = self.decoder(self.encoder_to_decoder(encoded), self.mask_token, *patches)
        return decoded

    def forward_heads(
        self,
        encoded: Tensor,
        decoded: Tensor,
        patches: Split,
        per_token: bool = False,
        pair_indices: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return student and teacher: what encoder and decoder make of the same visible patches.

        Parameters
        ----------
        encoded
            Of :meth:`forward_encoder`, (B, prefix + V, E).
        decoded
            Of :meth:`forward_decoder`, (B, V + M, D).
        patches
            Which of them are visible.
        per_token, pair_indices
            As of :meth:`forward`.
        """
        encoded, seen = encoded[:, self.encoder.num_prefix_tokens :], decoded[:, : patches.visible.shape[1]]
        if pair_indices is None:
            return self._project(encoded, seen, per_token)
        position = patches.positions
        student = gather_tokens(encoded, position.gather(1, pair_indices[0]))
        teacher = gather_tokens(decoded, position.gather(1, pair_indices[1]))
        with_mean = torch.cat([encoded.mean(1, True), student], 1), torch.cat([seen.mean(1, True), teacher], 1)
        return self._project(*with_mean, per_token=True)

    def normalise(self, images: Tensor) -> Tensor:
        """Return the model's input (B, 3, H, W) from uint8 or [0, 1] float RGB, (B, H, W, 3) or (B, 3, H, W)."""
        return standardise(images, self.mean, self.std)

    def _project(self, encoded: Tensor, decoded: Tensor, per_token: bool) -> tuple[Tensor, Tensor]:
        """Return student and teacher of tokens, encoded (B, N, E) and decoded (B, N, D)."""
        if self.teacher_head is None:
            return self.student_head(encoded), decoded
        return self.student_head(encoded, per_token), self.teacher_head(decoded, per_token)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Xavier-uniform Linear with zero bias in all blocks and the pixel head; patch convolution and bridge stay PyTorch's."""
        for module in (*self.encoder.blocks.modules(), *self.decoder.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for token in (self.mask_token, self.encoder.cls_token, self.encoder.reg_token):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def _heads(config: ModelConfig, width: int) -> tuple[nn.Module, nn.Module | None]:
    """Return student and teacher head; a predictor has the decoder's tokens themselves as teacher, so no teacher head."""
    if config.head == "predictor":
        return PredictorHead(width, config.head_hidden, config.decoder_width), None
    if config.head == "embedding":
        shape = config.head_hidden, config.head_bottleneck
        return EmbeddingHead(width, *shape), EmbeddingHead(config.decoder_width, *shape)
    sizes = config.head_hidden, config.head_bottleneck, config.head_outputs
    return ProjectionHead(width, *sizes), ProjectionHead(config.decoder_width, *sizes)


def freeze_unused(model: SDMAE, loss: LossConfig) -> None:
    """Take from training the heads that `loss` gives no gradient, as DistributedDataParallel requires.

    With ``p == 0`` neither head is used (call the model with ``heads=False``); with a detached teacher its head stays random.
    """
    if loss.p == 0:
        model.student_head.requires_grad_(False)
    if model.teacher_head is not None and (loss.p == 0 or not loss.teacher_gradient):
        model.teacher_head.requires_grad_(False)
