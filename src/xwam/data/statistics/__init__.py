"""Quantiles of a robot's states and actions, by the release's rules.

quantiles           one pass over data sets, to a `RobotSpec` that has them
rows                what counts of each episode
quantile_sketch     values in bounded memory
report              how many rows, how exact, and which channels degenerate
"""
