"""The release's statistics of normalisation, plainly: lists of rows, SciPy's rotations, all values at once.

Written from the description in its `scripts/compute_stats.py`; works on arrays as its episode files hold them, by arm.
"""

import numpy as np
from scipy.spatial.transform import Rotation

ARMS = ("left", "right")


def quantiles_of_release(episodes: list[dict], skip: int = 1, threshold: float = 0.01) -> dict[str, tuple]:
    """`episodes`: `proprios` and `actions` with `{arm}_ee_pos` (T, 3), `{arm}_ee_rotm` (T, 9), `{arm}_gripper_pos` (T,), or
    `raw_actions` (T, 7 per arm) instead of the latter. Returns low and high by the release's key."""
    columns: dict[str, list] = {}
    for episode in episodes:
        seen, done = episode["proprios"], episode["actions"]
        for number, arm in enumerate(ARMS):
            if f"{arm}_ee_pos" not in seen:
                continue
            length = len(seen[f"{arm}_ee_pos"])
            columns.setdefault(f"proprio_{arm}_ee_xyz", []).extend(seen[f"{arm}_ee_pos"])
            columns.setdefault("gripper_pos", []).extend(seen[f"{arm}_gripper_pos"])
            columns.setdefault("gripper_change", []).extend(
                seen[f"{arm}_gripper_pos"][t + skip] - seen[f"{arm}_gripper_pos"][t] for t in range(length - skip)
            )
            for t in range(length):
                if "raw_actions" in done:
                    raw = done["raw_actions"][t][7 * number : 7 * number + 6]
                    move, turn = raw[:3], raw[3:]
                elif t + skip - 1 < length:
                    move = done[f"{arm}_ee_pos"][t + skip - 1] - seen[f"{arm}_ee_pos"][t]
                    goal = Rotation.from_matrix(done[f"{arm}_ee_rotm"][t + skip - 1].reshape(3, 3))
                    turn = (goal * Rotation.from_matrix(seen[f"{arm}_ee_rotm"][t].reshape(3, 3)).inv()).as_rotvec()
                else:
                    continue
                columns.setdefault(f"action_{arm}_ee_xyz", []).append(move)
                columns.setdefault(f"action_{arm}_ee_axisangle", []).append(turn)
    low, high = np.quantile(columns["gripper_pos"], [0.01, 0.99])
    changes = np.array(columns.pop("gripper_change"))
    columns["gripper_action"] = changes[np.abs(2 * changes / max(high - low, 1e-6)) >= threshold]
    found = {}
    for key, rows in columns.items():
        if len(rows):
            low, high = np.quantile(np.array(rows), [0.01, 0.99], axis=0)
            if "action" in key:
                high = np.maximum(np.abs(low), np.abs(high))
                low = -high
            found[key] = np.ravel(low), np.ravel(high)
    return found
