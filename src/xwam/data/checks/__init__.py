"""What can be wrong with a recording. `xwam.data.check` runs all of it.

findings         the kinds of defects, what each means and how bad it is
times            timestamps
motions          jumps, flips of quaternions, what the same numbers twice tell
ranges           columns over the whole data set: missing, constant, in another unit
following        whether states do what commands ask: shifted in time, turned, of the other sign
orders           whether quaternions are (w, x, y, z)
cameras, depths  dead, frozen, doubled, without measurements
calibrations     matrices that are none
flags            what an RLDS data set says of its cameras
lerobot_files    what only files of LeRobot can have wrong
episode_check    all of this on one episode
picture_sheet    what was seen, as one picture
report           the table and the JSON file
"""
