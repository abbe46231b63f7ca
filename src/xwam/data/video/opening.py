"""Files of a data set as videos, or the reason in words why they are none."""

from pathlib import Path
from typing import Any, BinaryIO

import av

VideoSource = str | Path | BinaryIO  # a local file, or a binary file that can seek, such as fsspec's

# A file of a data set may be anything: no format that names other files, no protocol but the plain file.
_OPTIONS = {"format_whitelist": "mov,matroska,avi", "protocol_whitelist": "file"}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def name_of(file: VideoSource) -> str:
    """What to call a file in messages."""
    return str(
        file if isinstance(file, str | Path) else getattr(file, "path", None) or getattr(file, "name", "a stream")
    )


def open_container(file: VideoSource) -> Any:
    """Open a file.

    Args:
        file (`str`, `Path` or `BinaryIO`): Local file, or an open binary file that can seek; the latter is not closed.

    Returns:
        `av.container.InputContainer`: The file, with a video in it.

    Raises:
        ValueError: If it is no video.
    """
    source: Any = f"file:{file}" if isinstance(file, str | Path) else file
    try:
        container = av.open(source, options=dict(_OPTIONS))
    except (av.FFmpegError, EOFError) as error:
        raise ValueError(_reason(file, error)) from error
    streams = container.streams.video
    problem = "The file holds no video."
    if streams and streams[0].codec_context is None:
        problem = "The file names a codec that nothing here decodes; its header may be damaged."
    elif streams and streams[0].codec_context.width:
        return container
    container.close()
    raise ValueError(problem)


def _reason(file: VideoSource, error: Exception) -> str:
    if isinstance(file, str | Path):
        if not Path(file).is_file():
            return "There is no such file."
        with Path(file).open("rb") as opened:
            head = opened.read(len(_LFS_POINTER))
    else:
        file.seek(0)
        head = file.read(len(_LFS_POINTER))
    if not head:
        return "The file is empty."
    if head == _LFS_POINTER:
        return "This is a Git LFS pointer, not the video itself; get it with `git lfs pull`."
    return f"The file is no video that can be opened, or it is cut off: {getattr(error, 'strerror', None) or error}."
