"""Discriminators: what L1 and DSSIM forgive, a picture too smooth to be one, is told from footage and held against it.

A PatchGAN (Isola et al. 2017, arXiv:1611.07004), which judges patches of 34 or 70 pixels each for itself, with spectral
normalisation (Miyato et al. 2018, arXiv:1802.05957) and, as there, the hinge loss (Lim and Ye 2017, arXiv:1705.02894):
its gradient does not fade where the discriminator is sure. Nothing is normalised over the batch. Each side has its own,
since skin, camera and compression differ between the two: one for both could tell them by what sets the sides apart.
Only the colours are judged, not the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from train import checkpoint
from train.config import TrainConfig
from train.model import SIDES

SLOPE = 0.2
LR = 2e-4
"""Of Adam, all the time; this and the next as in both papers."""
BETAS = (0.5, 0.999)


class Patches(nn.Module):
    """(B, 3, S, S) to (B, 1, h, w), a number for each patch: above 0 it takes it for footage."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        halvings = 2 if config.size == 64 else 3
        layers: list[nn.Module] = []
        channels = 3
        for level in range(halvings + 1):
            out = config.encoder_width * 2**level
            layers += [_convolution(channels, out, 2 if level < halvings else 1), nn.LeakyReLU(SLOPE)]
            channels = out
        self.body = nn.Sequential(*layers, _convolution(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..1 to (B, 1, h, w)."""
        return cast(Tensor, self.body(x * 2 - 1))


class Adversary:
    """The discriminators of both sides and their optimiser. All in float32: to be called outside autocast.

    In a step of the training, for every pass `generator_term` and `learn`, then once `step`, or `forget`.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        networks = nn.ModuleDict({side: Patches(config) for side in SIDES}).eval()
        networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs forget this form
        self.networks = networks.to(device)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), LR, BETAS)

    def generator_term(self, outputs: Sequence[Tensor]) -> Tensor:
        """What the generator minimises, without its weight: the sum over the sides of minus the mean verdict, any sign.

        outputs: (B, 4, S, S) of each side, RGB and mask logit. Changes nothing here, nor leaves a gradient here.
        """
        self.networks.requires_grad_(False)
        verdicts = [self.networks[side](_colour(output)).mean() for side, output in zip(SIDES, outputs, strict=True)]
        return torch.stack(verdicts).sum().neg()

    def learn(self, outputs: Sequence[Tensor], truths: Sequence[Tensor], share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a pass that is this share of a step; returns each side's hinge loss.

        outputs: (B, 4, S, S) of each side, RGB and mask logit; truths: (B, 3, S, S) in 0..1. The loss is 0 where all
        are told apart, 2 where the discriminator is at a loss.
        """
        self.networks.requires_grad_()
        losses = {}
        for side, output, truth in zip(SIDES, outputs, truths, strict=True):
            both = torch.cat([truth.float(), _colour(output).detach()])
            footage, drawn = self.networks[side](both).chunk(2)
            losses[side] = F.relu(1 - footage).mean() + F.relu(1 + drawn).mean()
        (share * torch.stack(list(losses.values())).sum()).backward()  # type: ignore[no-untyped-call]  # torch's
        return {side: loss.detach() for side, loss in losses.items()}

    def step(self, average: Callable[[Tensor], Tensor] | None = None) -> None:
        """Follow the gradients; with several processes `average` gives the mean of a tensor over them."""
        if average is not None:
            _share(self.networks, average)
        self.optimizer.step()
        self.forget()
        with torch.no_grad():
            for layer in self.networks.modules():
                if isinstance(layer, nn.Conv2d):
                    _estimate(layer)

    def forget(self) -> None:
        """Drop the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on: weights, the norms' estimates, Adam's moments and count of steps."""
        moments = checkpoint.optimizer_tensors(self.networks, self.optimizer)
        networks = {f"network.{k}": v for k, v in self.networks.state_dict().items()}
        return networks | {f"optimizer.{k}": v for k, v in moments}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`; raises RuntimeError if the networks have another shape."""
        self.networks.load_state_dict(_part(tensors, "network."))
        checkpoint.restore_optimizer(self.networks, self.optimizer, _part(tensors, "optimizer."))


def make(config: TrainConfig, device: torch.device) -> Adversary | None:
    """Fresh discriminators, the same for the same seed; None where they have no weight."""
    if not config.adversarial_weight:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Adversary(config, device)


def _convolution(channels: int, out: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels, out, 4, stride, 1))


def _estimate(layer: nn.Conv2d) -> None:
    """One power iteration of the layer's norm: once for each change of the weights, however many passes a step has."""
    layer.train()
    layer.get_submodule("parametrizations.weight")()  # what reading its weight calls
    layer.eval()


def _colour(output: Tensor) -> Tensor:
    return output[:, :3].float()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _share(networks: nn.Module, average: Callable[[Tensor], Tensor]) -> None:
    """Replace the gradients by their means over all processes, in one go."""
    gradients = [p.grad for p in networks.parameters() if p.grad is not None]
    means = average(torch.cat([g.flatten() for g in gradients]))
    for gradient, mean in zip(gradients, torch.split(means, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))
