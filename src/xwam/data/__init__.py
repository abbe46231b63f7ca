"""Robot data sets, from the disk to batches and back.

readers        episodes out of LeRobot, the release's layout and RLDS
writers        episodes into LeRobot v3 and the release's layout, whole or not at all
streams        windows of episodes, their order, crops and colours, batches
statistics     quantiles in one pass
checks, check  what is wrong with a data set
sources        robots and maps of public data sets
video          frames out of and into mp4, by their number, damage noticed
dataset_map    which columns of a foreign data set are what
lerobot_layout where LeRobot's files lie and what they are named
depth_codes    depth in metres as 12-bit codes and back
level_codes    the same for depth without a unit
"""
