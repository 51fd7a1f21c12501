"""From a NetSpec to a torch module, with the initialisation of the paper's public implementations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ablate.errors import SpecError
from ablate.model.blocks import Block, ConvUnit
from ablate.model.kernels import ACTIVATIONS, ChannelsLast, Dropout
from ablate.model.parts import BlockPart, OwnPart, parts
from ablate.model.spec import NetSpec


class Net(nn.Module):
    """An image classifier: stem, blocks, head, mean pooling, a hidden layer where there is one, dropout, linear.

    Its layers are those that ``layers(spec, height, width)`` lists, under the same names.
    """

    def __init__(self, spec: NetSpec, own_block: Callable[[OwnPart], nn.Module] | None = None) -> None:
        super().__init__()
        self.spec = spec
        whole = parts(spec)

        def block(part: BlockPart | OwnPart) -> nn.Module:
            if not isinstance(part, OwnPart):
                return Block(part)
            if own_block is None:
                raise SpecError("residual", f"= {part.spec.residual!r} is a block of your own, which workers import")
            return own_block(part)

        self.layout = ChannelsLast()
        self.stem = ConvUnit(whole.stem)
        self.stem_pool = nn.MaxPool2d(3, 2, padding=1) if spec.stem_pool else nn.Identity()
        self.blocks = nn.Sequential(*map(block, whole.blocks))
        self.head = ConvUnit(whole.head) if whole.head else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        width = spec.head_hidden
        self.hidden = nn.Linear(whole.features, width) if width else nn.Identity()
        self.hidden_activation = ACTIVATIONS[spec.activation]() if width else nn.Identity()
        self.dropout = Dropout(spec.dropout) if spec.dropout else nn.Identity()
        self.classifier = nn.Linear(width or whole.features, spec.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images N C H W to logits N num_classes."""
        x = self.stem_pool(self.stem(self.layout(x)))
        x = self.head(self.blocks(x))
        features = self.hidden_activation(self.hidden(self.pool(x).flatten(1)))
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def initialise(net: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draws every parameter anew, in the order of the modules, and resets the running statistics.

    Convolutions: normal, variance 2 / fan-out; norms: 1 and 0; linear: normal with deviation 0.01, bias 0
    (torchvision's MobileNetV2). Nets whose parameters have the same shapes get the same numbers from the same
    generator state.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01, generator=generator)
            nn.init.zeros_(module.bias)


def build(spec: NetSpec, *, generator: torch.Generator | None = None) -> Net:
    """Builds the net that ``spec`` describes: images N C H W in, logits N num_classes out.

    Args:
        spec: the architecture.
        generator: the source of the initial weights; torch's global generator if not given. If given, the global
            random state does not change.

    The net is on torch's default device: under ``with torch.device("meta")`` it has shapes and no weights.

    Example:
        >>> from ablate.model.zoo import mobilenet_v2_mnist
        >>> net = build(mobilenet_v2_mnist().with_blocks(bottleneck="relu"))
        >>> net(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    device = torch.get_default_device()
    with torch.device("meta"):
        net = Net(spec)
    if device.type == "meta":
        return net
    net.to_empty(device=device)
    initialise(net, generator)
    return net.to(memory_format=torch.channels_last)
