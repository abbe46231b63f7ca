"""Files of robot data sets: LeRobot v3 and the release's layout.

lerobot_writer, release_writer    what a user opens: a folder that takes episodes
dataset_writer, episode_writer    what both share: an episode, frame by frame, and how a folder survives a crash
recording_format                  what all episodes of a dataset have in common
lerobot_build                     finished episodes into LeRobot's files
feature_statistics                `stats.json`
durable_files                     files that appear whole or not at all
dataset_card                      README, picture, and the way to the hub
"""
