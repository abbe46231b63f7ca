"""Frames to latents and back give the reference's numbers.

The recorded frames are those of convolutions for AVX2 on two threads of an AMD EPYC, bit for bit. Other kernels round otherwise: the
release itself, run with those for AVX-512, leaves its recorded frames by up to 4.3e-6, and these leave float64 by 3.7e-6. So do other
processors, for which the libraries choose other kernels: with those for AVX2 an Intel Xeon leaves the recorded frames by 2.5e-6.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from parity.recorded import each_case, read, relative_error, weights
from recorded_folder import needs_recorded

from xwam.evaluation.provenance import machine
from xwam.loaders.key_maps import vae_key_map
from xwam.models.video_codec import decode_latents, encode_frames

pytestmark = pytest.mark.parity
TOLERANCE = 1e-6
OTHER_KERNELS = 1e-5  # decoder only
CHANNELS = 48


def make_vae(mean, std):
    """The recorded VAE; its widths are those of its tensors."""
    official = weights("vae_tiny")
    names, unmapped = vae_key_map().map_to_ours(official)
    assert unmapped == []
    vae = AutoencoderKLWan(
        base_dim=official["encoder.conv1.weight"].shape[0], decoder_base_dim=official["decoder.head.2.weight"].shape[1],
        z_dim=official["conv2.weight"].shape[0], dim_mult=[1, 2, 4, 4], num_res_blocks=2, is_residual=True, in_channels=12,
        out_channels=12, patch_size=2, temperal_downsample=[False, True, True], scale_factor_temporal=4,
        scale_factor_spatial=16, latents_mean=mean, latents_std=std,
    )  # fmt: skip
    vae.load_state_dict({ours: official[theirs] for ours, theirs in names.items()}, strict=True)
    return vae.eval()


@cache
def recorded_statistics():
    """Mean and standard deviation of each channel, from what the recorded normalization did to the latents of `f9`.

    They were published with four decimals, so a straight line through each channel gives them without an error.
    """
    _, recorded = read("vae", "f9")
    with torch.no_grad():
        raw = encode_frames(make_vae([0.0] * CHANNELS, [1.0] * CHANNELS), per_view(recorded["in.video"]))[:, :, :, 0]
    x, y = (value.transpose(0, 1).flatten(1).double() for value in (raw, recorded["out.latents"]))  # (C, numbers)
    centred_x, centred_y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    std = (centred_x * centred_y).sum(1) / centred_y.square().sum(1)
    mean = x.mean(1) - std * y.mean(1)
    for values in (mean, std):
        assert (values - values.round(decimals=4)).abs().max() < 5e-6, "the statistics have four decimals"
    return mean.round(decimals=4).tolist(), std.round(decimals=4).tolist()


def per_view(video):
    """`(N, 3, F, H, W)` as clips of one view, `(N, 1, F, 3, H, W)`."""
    return video.transpose(1, 2)[:, None]


def encoding_error(name):
    _, recorded = read("vae", name)
    latents = encode_frames(make_vae(*recorded_statistics()), per_view(recorded["in.video"]))
    return relative_error(latents[:, :, :, 0], recorded["out.latents"])


def decoding_error(name):
    _, recorded = read("vae", name)
    frames = decode_latents(make_vae(*recorded_statistics()), recorded["in.latents"][:, :, :, None])
    return relative_error(frames[:, 0].transpose(1, 2), recorded["out.video"])


@each_case("vae")
@torch.no_grad()
def test_frames_are_encoded_as_the_reference_encodes_them(name):
    assert encoding_error(name) <= TOLERANCE


@each_case("vae")
@torch.no_grad()
def test_latents_are_decoded_as_the_reference_decodes_them(name):
    assert decoding_error(name) <= OTHER_KERNELS


@pytest.mark.skipif(
    "AMD" not in machine()["processor"], reason="the reference was recorded with an AMD processor's kernels"
)
@needs_recorded("parity")
def test_with_the_recorded_kernels_both_ways_meet_the_narrow_tolerance():
    """In a process of its own, since the kernels are chosen when torch is loaded."""
    code = (
        "import torch; torch.set_grad_enabled(False); torch.set_num_threads(2)\n"
        "from parity.test_vae_parity import decoding_error, encoding_error\n"
        "print(max(error(name) for name in ('f1', 'f9') for error in (encoding_error, decoding_error)))"
    )
    kernels = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    environment = {**os.environ, **kernels, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) <= TOLERANCE
