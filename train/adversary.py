"""Adversarial loss: discriminators that penalise pictures smoother than footage, which L1 and DSSIM tolerate.

A PatchGAN (Isola et al. 2017, arXiv:1611.07004), which judges each patch of 34 or 70 pixels separately, with spectral
normalisation (Miyato et al. 2018, arXiv:1802.05957) and, as there, the hinge loss (Lim and Ye 2017, arXiv:1705.02894),
whose gradient does not vanish where the discriminator is certain. Nothing is normalised over the batch. Each side has
a discriminator of its own, because a shared one could decide by the sides' different skin, camera and compression.
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
"""Constant learning rate of Adam; LR and BETAS as in both papers."""
BETAS = (0.5, 0.999)


class Patches(nn.Module):
    """Discriminator: (B, 3, S, S) to (B, 1, h, w), a number per patch; above 0 means footage."""

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
    """The discriminators of both sides and their optimiser. All in float32: call it outside autocast.

    In each training step, call `generator_term` and `learn` for every pass, then `step` or `forget` once.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        networks = nn.ModuleDict({side: Patches(config) for side in SIDES}).eval()
        networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs forget this form
        self.networks = networks.to(device)
        fused = device.type != "mps"
        self.optimizer = torch.optim.Adam(self.networks.parameters(), LR, BETAS, fused=fused)

    def generator_term(self, outputs: Sequence[Tensor]) -> Tensor:
        """Generator loss, not weighted: minus the mean verdict, summed over the sides; any sign.

        outputs: (B, 4, S, S) of each side, RGB and mask logit. Changes no discriminator and leaves no gradient in one.
        """
        self.networks.requires_grad_(False)
        verdicts = [self.networks[side](_colour(output)).mean() for side, output in zip(SIDES, outputs, strict=True)]
        return torch.stack(verdicts).sum().neg()

    def learn(self, outputs: Sequence[Tensor], truths: Sequence[Tensor], share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a pass that makes up this share of a step; returns each side's hinge loss.

        outputs: (B, 4, S, S) of each side, RGB and mask logit; truths: (B, 3, S, S) in 0..1. The loss is 0 if all
        are classified correctly, 2 if the discriminator cannot tell them apart.
        """
        self.networks.requires_grad_()
        losses = {}
        for side, output, truth in zip(SIDES, outputs, truths, strict=True):
            both = torch.cat([truth.float(), _colour(output).detach()])
            footage, drawn = self.networks[side](both).chunk(2)
            losses[side] = F.relu(1 - footage).mean() + F.relu(1 + drawn).mean()
        (share * torch.stack(list(losses.values())).sum()).backward()  # type: ignore[no-untyped-call]  # torch's
        return {side: loss.detach() for side, loss in losses.items()}

    def step(self, average: Callable[[Tensor], Tensor] | None = None, bad: Tensor | None = None) -> None:
        """Apply the gradients; with several processes, `average` gives the mean of a tensor over them.

        bad: float32 without dimensions, on the device; at 1 the gradients are left out. None: 0.
        """
        if average is not None:
            _share(self.networks, average)
        if self.optimizer.defaults["fused"]:
            self.optimizer.found_inf = bad  # type: ignore[attr-defined]  # how a scaler tells a fused optimiser
            self.optimizer.step()
        elif bad is None or not bad.item():
            self.optimizer.step()
        self.forget()
        with torch.no_grad():
            for layer in self.networks.modules():
                if isinstance(layer, nn.Conv2d):
                    _estimate(layer)

    def forget(self) -> None:
        """Discard the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """State for a checkpoint: weights, spectral norm estimates, Adam's moments and step counts."""
        moments = checkpoint.optimizer_tensors(self.networks, self.optimizer)
        networks = {f"network.{k}": v for k, v in self.networks.state_dict().items()}
        return networks | {f"optimizer.{k}": v for k, v in moments}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`; raises RuntimeError if the networks have another shape."""
        self.networks.load_state_dict(_part(tensors, "network."))
        checkpoint.restore_optimizer(self.networks, self.optimizer, _part(tensors, "optimizer."))


def make(config: TrainConfig, device: torch.device) -> Adversary | None:
    """New discriminators, the same for the same seed; None if the adversarial loss has no weight."""
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
