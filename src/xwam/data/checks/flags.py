"""What an RLDS data set says of its own cameras: `has_image_0` beside `image_0`."""

from collections.abc import Iterator, Mapping

from xwam.data.checks.findings import Finding
from xwam.data.checks.frames import Trace
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.rlds import RldsReader


def flag_findings(
    reader: EpisodeReader, episode: int, traces: Mapping[str, Trace], dead: set[str]
) -> Iterator[Finding]:
    """Flags of one episode that its images contradict.

    Args:
        reader (`EpisodeReader`): The data set; nothing is found in any but an RLDS one.
        episode (`int`): Index into its episodes.
        traces (`Mapping[str, Trace]`): Frames by camera.
        dead (`set[str]`): Cameras that are dead.
    """
    if not isinstance(reader, RldsReader):
        return
    told = reader.read_metadata(episode)
    for camera in reader.map.cameras:
        trace = traces.get(camera.name)
        flag = f"has_{str(camera.image).rpartition('/')[2]}"
        if trace is None or not trace.rows or flag not in told or not isinstance(told[flag], int | bool):
            continue
        if bool(told[flag]) == (camera.name in dead):
            shown = "nothing in them" if camera.name in dead else "something in them"
            yield Finding("wrong_flag", f"images as {flag} = {told[flag]} says", f"images with {shown}", camera.name)
