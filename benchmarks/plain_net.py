"""The same MobileNetV2s from torchvision's own modules, so that none of this project's layers is in them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops.misc import Conv2dNormActivation

from ablate.model.spec import NetSpec
from ablate.model.torchvision_weights import from_torchvision


class PlainNet(nn.Module):
    """torchvision's MobileNetV2 with our table of stages; images N C H W to logits."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        channels = spec.width(spec.stem_channels)
        features: list[nn.Module] = [
            Conv2dNormActivation(
                spec.in_channels,
                channels,
                kernel_size=spec.stem_kernel,
                stride=spec.stem_stride,
                activation_layer=nn.ReLU6,
            )
        ]
        for stage in spec.stages:
            for number in range(stage.repeats):
                out = spec.width(stage.channels)
                stride = stage.stride if number == 0 else 1
                features.append(InvertedResidual(channels, out, stride, expand_ratio=int(stage.block.expand_ratio)))
                channels = out
        features.append(Conv2dNormActivation(channels, spec.head_width, kernel_size=1, activation_layer=nn.ReLU6))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(spec.head_width, spec.num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


def our_weights(net: PlainNet) -> Mapping[str, Tensor]:
    """The plain net's weights under our net's names."""
    return from_torchvision("mobilenet_v2", net.state_dict())
