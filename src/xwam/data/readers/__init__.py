"""Episodes out of the layouts in which people keep them.

base        what every reader answers: `EpisodeReader`
release     JSON and mp4, as the X-WAM release has them
lerobot     LeRobot v2.1 and v3: parquet and mp4
rlds        TFRecord files of RLDS, without TensorFlow
"""
