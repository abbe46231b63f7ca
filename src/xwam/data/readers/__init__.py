"""Episodes out of the layouts in which people keep them.

open                          `open_dataset`: which layout lies in a folder
base, mapped                  what every reader answers, and what those share that go by a `DatasetMap`
release, release_episode      JSON and mp4, as the X-WAM release has them
lerobot, lerobot_index        LeRobot v2.0 to v3.0: parquet and mp4; what its metadata say
rlds, tfrecord                TFRecord files of RLDS, without TensorFlow
dataset_files, hub_files      files of a folder or of the hub, by blocks
parquet_rows                  rows of tables, as few as are needed
still_images                  single pictures in PNG and JPEG
"""
