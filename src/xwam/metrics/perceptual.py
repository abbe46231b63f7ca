"""The network behind LPIPS: the five convolutions of AlexNet and one learned weight per channel, and where its weights come from."""

from pathlib import Path

import torch
from huggingface_hub import cached_assets_path
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import max_pool2d, relu

from xwam.checkpoints.hub import fetch_snapshot
from xwam.checkpoints.safetensors_check import check_safetensors
from xwam.errors import CheckpointError, CheckpointMismatchError

WEIGHTS_NAME = "lpips_alex.safetensors"
ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
HEADS_URL = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth"
# Channels in, channels out, kernel, stride, padding; a 3 × 3 maximum with stride 2 stands before those marked.
CONVOLUTIONS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
IS_POOLED = (False, True, True, False, False)
# Mean and deviation of ImageNet's RGB, carried from [0, 1] to [-1, 1] and rounded as the published heads were trained.
CHANNEL_MEAN, CHANNEL_DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10
MIN_SIZE = 31  # pixels; below it the second maximum has no window


class LPIPSNetwork(nn.Module):
    r"""Learned perceptual distance of two images.

    \(\sum_l \mathrm{mean}_{hw} \sum_c w_{lc} (\hat p_{lchw} - \hat t_{lchw})^2\), where \(\hat p_l, \hat t_l\) are the outputs of layer l after the rectifier, divided by their length over the channels.

    Source: R. Zhang et al. 2018, arXiv 1801.03924, equation 1; version 0.1 of its `lpips` package with `net="alex"`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, stride, padding)
            for inputs, outputs, kernel, stride, padding in CONVOLUTIONS
        )
        self.heads = nn.ParameterList(torch.zeros(outputs) for _, outputs, *_ in CONVOLUTIONS)
        self.register_buffer("mean", torch.tensor(CHANNEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(CHANNEL_DEVIATION)[:, None, None], persistent=False)

    @classmethod
    def from_pretrained(cls, source: str | Path | None = None) -> "LPIPSNetwork":
        """Load weights that `xwam.loaders.lpips_conversion` wrote.

        Args:
            source (`str` or `Path`, *optional*): A safetensors file, a folder with `lpips_alex.safetensors` in it, or the id of
                a repository on the Hub with that file; by default `default_weights_path()`.

        Raises:
            CheckpointError: If there are no weights; the message says how to get them.
            CorruptFileError: If the file is damaged.
            CheckpointMismatchError: If its tensors are not those of this network.
        """
        path = _weights_path(source)
        check_safetensors(path)
        tensors, network = load_file(path), cls()
        own = network.state_dict()
        misshapen = [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
        if own.keys() != tensors.keys() or misshapen:
            missing, unexpected = own.keys() - tensors.keys(), tensors.keys() - own.keys()
            raise CheckpointMismatchError(str(path), missing=missing, unexpected=unexpected, misshapen=misshapen)
        network.load_state_dict(tensors)
        return network.eval().requires_grad_(False)

    def forward(self, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Distance of each pair of images.

        Args:
            prediction (`torch.Tensor` of shape `(B, 3, H, W)`): RGB in [-1, 1].
            truth (`torch.Tensor` of shape `(B, 3, H, W)`): RGB in [-1, 1].

        Returns:
            `torch.Tensor` of shape `(B,)`: 0 for equal images.
        """
        p, t = ((images - self.mean) / self.deviation for images in (prediction, truth))
        distance = torch.zeros(len(p), dtype=p.dtype, device=p.device)
        for convolution, head, is_pooled in zip(self.convolutions, self.heads, IS_POOLED, strict=True):
            p, t = (relu(convolution(max_pool2d(x, 3, 2) if is_pooled else x)) for x in (p, t))
            difference = (_normalized(p) - _normalized(t)).square()  # (B, C, h, w)
            distance = distance + torch.einsum("bchw,c->bhw", difference, head).mean(dim=(1, 2))
        return distance


def default_weights_path() -> Path:
    """Where the weights are looked for when nothing else is said: in the cache of huggingface_hub."""
    return cached_assets_path("xwam", namespace="metrics", subfolder="lpips") / WEIGHTS_NAME


def _normalized(features: torch.Tensor) -> torch.Tensor:
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + EPSILON)


def _weights_path(source: str | Path | None) -> Path:
    path = default_weights_path() if source is None else Path(source)
    if path.is_dir():
        path = path / WEIGHTS_NAME
    if path.is_file():
        return path
    if isinstance(source, str) and source.count("/") == 1 and path.suffix == "":
        return fetch_snapshot(source, allow_patterns=[WEIGHTS_NAME]) / WEIGHTS_NAME
    alexnet, heads = (url.rpartition("/")[2] for url in (ALEXNET_URL, HEADS_URL))
    raise CheckpointError(
        f"LPIPS needs its weights, and {path} does not exist. They are not shipped; get them once with\n"
        f"  curl -LO {ALEXNET_URL}\n"
        f"  curl -LO {HEADS_URL}\n"
        f"  python -c \"from xwam.loaders.lpips_conversion import convert_lpips; convert_lpips('{alexnet}', '{heads}')\"\n"
        f"or pass the path or the Hub id of a converted file. PSNR and SSIM need no weights."
    )
