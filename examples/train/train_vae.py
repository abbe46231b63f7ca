"""Train a small video VAE — colour and depth of one robot's cameras through one codec.

What you learn: what a small robot world's VAE needs: full frames, more weight on what moves and on strong colours, mild compression
(stride 8, 16 channels), and Muon, which learns in a quarter of AdamW's steps here. The numbers are in docs/log.md.

Usage:
    python examples/train/train_vae.py --dataset demonstrations --output my-vae
    python examples/train/train_vae.py --dataset demonstrations --output my-vae --tiny

Started again with the same options, it goes on where it was stopped.
"""

import argparse
import logging
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from tqdm import tqdm

from xwam import RobotProcessor
from xwam.data.readers.open import open_dataset
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.stream import make_stream
from xwam.errors import XWAMError
from xwam.training.publishing import check_targets
from xwam.training.training_data import data_identity, hold_out, robot_with_quantiles
from xwam.training.video_codec_training import VideoCodecConfig, draw_clips, measure_latents, train_video_codec
from xwam.utils.options import require_at_least

MEASURED_WINDOWS = 64


def main() -> None:
    """Open, train, measure, save."""
    args = parse()
    device = torch.device(args.device)

    # 1. Data: no crops and no colours, the codec shall see what it will encode
    reader, _ = hold_out(open_dataset(args.dataset, args.robot, map=args.map), 8)
    rows = {"rows_per_command": args.rows_per_command}
    robot = robot_with_quantiles(reader.robot, [reader], args.output / "robot.json", **rows)
    mixture = Mixture.of(reader, RobotProcessor(robot), **rows)

    def batches(start: int):  # noqa: ANN202
        stream = make_stream(
            mixture,
            seed=args.seed,
            batch_size=1,
            start_batch=start,
            num_workers=args.num_workers,
        )
        return (batch.to(device) for batch in stream)

    # 2. The VAE: Wan2.2's class at stride 8
    torch.manual_seed(args.seed)
    channels, width = args.channels, args.width
    vae = AutoencoderKLWan(
        base_dim=width, decoder_base_dim=width, z_dim=channels, dim_mult=[1, 2, 2], num_res_blocks=1,
        temperal_downsample=[True, True], is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        latents_mean=[0.0] * channels, latents_std=[1.0] * channels, scale_factor_spatial=8, scale_factor_temporal=4,
    ).to(device)  # fmt: skip

    # 3. Train
    config = VideoCodecConfig(steps=2 if args.tiny else args.steps, clips_per_step=args.clips, seed=args.seed)
    with tqdm(total=config.steps, unit="step") as bar:

        def show(step: int, losses: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{losses['loss']:.4f}", refresh=False)

        train_video_codec(vae, batches, config, args.output / "checkpoints", show, data=data_identity(mixture))

    # 4. Measure the latents: their mean and deviation belong to the VAE
    stream = iter(batches(0))
    clips = (draw_clips(next(stream), config, 4 * number) for number in range(2 if args.tiny else MEASURED_WINDOWS))
    mean, std = measure_latents(vae, clips)
    vae.register_to_config(latents_mean=mean, latents_std=std)
    vae.save_pretrained(args.output / "vae")
    print(f"the VAE, {sum(p.numel() for p in vae.parameters()):,} parameters: {args.output / 'vae'}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", required=True, help="folder, or id on the hub")
    add("--robot", help="name or JSON file of the robot; else that of the data set")
    add("--map", help="JSON file that says where the data set has states, commands and cameras, or a public source")
    add("--rows_per_command", type=int, default=1, help="rows from one command to the next (default: %(default)s)")
    add("--output", type=Path, required=True, help="folder of the run; the VAE goes to its folder `vae`")
    add("--steps", type=int, default=3600, help="(default: %(default)s)")
    add("--clips", type=int, default=3, help="clips of one view in a step (default: %(default)s)")
    add("--channels", type=int, default=16, help="of the latents (default: %(default)s)")
    add("--width", type=int, default=16, help="of the first and last layers (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--num_workers", type=int, default=0, help="processes that read ahead (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default: %(default)s)")
    add("--tiny", action="store_true", help="two steps, to see that it runs")
    args = parser.parse_args()
    check_targets(parser, args.output)
    try:
        require_at_least(1, args, "steps", "clips", "channels", "width")
        require_at_least(0, args, "num_workers")
    except ValueError as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    try:
        main()
    except (XWAMError, ValueError, ImportError, RuntimeError) as error:
        logging.getLogger("train_vae").error("%s", error)
        sys.exit(1)
