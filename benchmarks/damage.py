"""Damage — how much of the damage in video files is found: files and frames, by codec, with 20 wrong bytes or with one.

Each given video is damaged as it is; its first frames are also encoded by every codec that recordings use, and damaged. Only
packets are damaged, where decoders rarely stop. A frame counts as wrong where its pixels differ from the sound file's.

Usage:
    python benchmarks/damage.py path/to/*.mp4 --copies 100 --output benchmarks/results
"""

import argparse
import datetime
import io
import json
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from measuring import commit_of, describe_machine

from xwam.data.video.reader import Video
from xwam.data.video.writer import VideoWriter
from xwam.errors import DamagedVideoError

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 60  # of each encoded video
FLIPS = (20, 1)
# Name: encoder and its options; the first two are those of this library's recordings.
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "H.264, GOP 2 (ours)": ("libx264", {}),
    "HEVC, 12-bit depth with MD5 (ours)": ("libx265", {}),
    "HEVC, GOP 12, without MD5": ("libx265", {"g": "12", "x265-params": "log-level=none:pools=none"}),
    "H.264, GOP 250": ("libx264", {"g": "250", "bf": "0"}),
    "H.264, GOP 12, B-frames": ("libx264", {"g": "12", "bf": "3"}),
    "AV1, GOP 30": ("libsvtav1", {"g": "30", "preset": "10"}),
    "MPEG-4 part 2, GOP 12": ("mpeg4", {"g": "12", "qscale": "3"}),
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse_arguments(arguments)
    av.logging.set_level(None)  # decoders complain about each damaged packet
    with tempfile.TemporaryDirectory() as folder:
        contents = {"as given": [path.read_bytes() for path in options.videos]}
        for number, codec in enumerate(CODECS):
            target = Path(folder) / f"{number}.mp4"
            contents[codec] = []
            for path in options.videos:
                encode(path, target, codec)
                contents[codec].append(target.read_bytes())
    result = {
        "benchmark": "damage",
        "command": " ".join(["python benchmarks/damage.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": commit_of(ROOT),
        "machine": describe_machine(torch.device("cpu")),
        "copies": options.copies,
        "found": [
            {"video": name, "flips": flips, **damage(own, options.copies, flips)}
            for name, own in contents.items()
            for flips in FLIPS
        ],
    }
    print(render(result))
    if options.output:
        write(result, options.output)
    return result


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+", help="mp4 files to begin with")
    parser.add_argument("--copies", type=int, default=100, help="damaged files of each kind (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder to write the result to; else it is only shown")
    return parser.parse_args(arguments)


def encode(source: Path, target: Path, codec: str) -> None:
    """Encode the first frames of a video."""
    encoder, codec_options = CODECS[codec]
    with Video(source) as video:
        size = video.size
        frames = [frame.picture.to_ndarray(format="rgb24") for frame in islice(video.walk(), FRAMES)]
    if not codec_options:
        is_depth = encoder == "libx265"
        with VideoWriter(target, size, 20, is_depth=is_depth) as writer:
            for frame in frames:
                writer.add(frame[..., 0].astype(np.uint16) * 16 + frame[..., 1] % 16 if is_depth else frame)
        return
    with av.open(str(target), "w") as file:
        stream = file.add_stream(encoder, rate=20)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.options = dict(codec_options)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 20)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


def damage(contents: Sequence[bytes], copies: int, flips: int) -> dict[str, int]:
    """What is found in damaged copies, the given files in turn, and in the sound ones."""
    sound = [decode(content) for content in contents]
    totals = {
        "files found": 0,
        "files wrong, not found": 0,
        "frames wrong": 0,
        "frames wrong, not found": 0,
        "false alarms": sum(is_damaged for frames in sound for _, is_damaged in frames.values()),
    }
    for copy in range(copies):
        content, truth = contents[copy % len(contents)], sound[copy % len(contents)]
        found = decode(flipped(content, flips, random.Random(copy)))
        wrong = {index for index, (pixels, _) in truth.items() if found.get(index, (0, True))[0] != pixels}
        unnoticed = {index for index in wrong if index in found and not found[index][1]}
        is_found = len(found) < len(truth) or any(is_damaged for _, is_damaged in found.values())
        totals["files found"] += is_found
        totals["files wrong, not found"] += bool(wrong) and not is_found
        totals["frames wrong"] += len(wrong)
        totals["frames wrong, not found"] += len(unnoticed)
    return totals


def decode(content: bytes) -> dict[int, tuple[int, bool]]:
    """A digest of the pixels of each frame, and whether it is said to be damaged; a file that does not open has none."""
    try:
        with Video(io.BytesIO(content)) as video:
            return {
                frame.index: (hash(frame.picture.to_ndarray().tobytes()), frame.is_damaged) for frame in video.walk()
            }
    except DamagedVideoError:
        return {}


def flipped(content: bytes, count: int, rng: random.Random) -> bytes:
    """A copy with wrong bytes inside of packets."""
    with av.open(io.BytesIO(content)) as file:
        packets = [(entry.pos, entry.size) for entry in file.streams.video[0].index_entries]
    changed = bytearray(content)
    for place, size in rng.choices(packets, weights=[size for _, size in packets], k=count):
        changed[place + rng.randrange(size)] ^= rng.randrange(1, 256)
    return bytes(changed)


def render(result: dict[str, Any]) -> str:
    """The whole result in Markdown."""
    commit, machine = result["commit"], result["machine"]
    names = [name for name in result["found"][0] if name not in ("video", "flips")]
    rows = [
        f"| {own['video']} | {own['flips']} | " + " | ".join(str(own[name]) for name in names) + " |"
        for own in result["found"]
    ]
    lines = [
        f"# Damage found in videos, {machine['processor']}, {result['date']}\n",
        f"`{result['command']}`  \ncommit {str(commit['commit'])[:12]}{' with changes' if commit['has_changes'] else ''}; "
        f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}; {result['copies']} damaged files per row\n",
        f"| video | wrong bytes | {' | '.join(names)} |",
        f"| --- |{' --: |' * (len(names) + 1)}",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def write(result: dict[str, Any], folder: Path) -> None:
    """Write the result as Markdown and JSON; the file name says what was measured where and when."""
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    table = folder / f"damage_{hardware}_{result['date'][:10]}.md"
    folder.mkdir(parents=True, exist_ok=True)
    table.write_text(render(result), encoding="utf-8")
    table.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
