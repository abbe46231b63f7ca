"""Kill a process that saves checkpoints without end, again and again, and look at what it left each time.

Usage:
    python tests/training/kill_loop.py FOLDER --kills 50
    python tests/training/kill_loop.py FOLDER --kills 8 --direct    # a saver that writes in place, which must be caught

Prints one JSON object: `loadable` (of `kills`), `inside` (kills during a save), `progressed` (rounds that saved something),
`lost` (rounds after which a checkpoint that was reported as saved was gone).
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from xwam.checkpoints.manifest import write_manifest
from xwam.errors import CheckpointError
from xwam.training.checkpoint_store import CheckpointStore
from xwam.training.state_files import RunFacts, RunState, read_facts, read_state, write_state

PAUSE = 0.005  # seconds of "training" between two saves


class DirectStore(CheckpointStore):
    """The broken variant: no temporary folder, no rename, always the same files."""

    def path_of(self, step: int) -> Path:
        return super().path_of(1)

    def save(self, step, write):
        self.path_of(step).mkdir(parents=True, exist_ok=True)
        write(self.path_of(step))
        write_manifest(self.path_of(step))
        return self.path_of(step)


def state(step: int, megabytes: float) -> RunState:
    weights = {f"block.{i}": torch.full((int(megabytes * 2**18 / 4),), float(step)) for i in range(4)}
    facts = RunFacts(step=step, samples=step, num_processes=1, config={})
    return RunState(
        facts, weights, None, {"block.0": {"step": torch.tensor(float(step))}}, [{"torch": torch.zeros(8)}]
    )


def save_without_end(store: CheckpointStore, megabytes: float, report: int) -> None:
    store.clean()
    newest = store.newest()
    step = read_facts(newest).step if newest else 0
    while True:
        step += 1
        own = state(step, megabytes)
        store.save(step, lambda folder, own=own: write_state(own, folder))
        os.write(report, f"{step}\n".encode())
        time.sleep(PAUSE)


def one_round(
    store: CheckpointStore, megabytes: float, seconds: float, *, may_be_early: bool
) -> tuple[bool, list[int]]:
    """Whether the kill came during a save, and the steps that were reported as saved.

    The seconds begin with the first report, however busy the machine is; or, where the kill may be early, at once.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            save_without_end(store, megabytes, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as lines:
        first = "" if may_be_early else lines.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        saved = [int(line) for line in (first + lines.read()).splitlines()]
    partial = (
        [path for path in store.folder.iterdir() if path.name.startswith(".tmp-")] if store.folder.exists() else []
    )
    return bool(partial), saved


def loadable_step(store: CheckpointStore) -> int | None:
    """Step of the newest checkpoint once it was read completely; `None` where there is none."""
    newest = store.newest()
    if newest is None:
        return None
    found = read_state(newest)
    steps = {float(value) for tensor in found.weights.values() for value in (tensor.min(), tensor.max())}
    if steps != {float(found.facts.step)}:
        raise CheckpointError(f"{newest} mixes the steps {sorted(steps)}.")
    return found.facts.step


def main(arguments: list[str]) -> dict[str, int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=16.0)
    parser.add_argument("--seconds", type=float, nargs=2, default=(0.0, 0.4), help="from the first save to the kill")
    parser.add_argument("--direct", action="store_true")
    asked = parser.parse_args(arguments)
    store = (DirectStore if asked.direct else CheckpointStore)(asked.folder, keep=2)
    counts = {"kills": asked.kills, "loadable": 0, "inside": 0, "progressed": 0, "lost": 0, "steps": 0}
    draw, before, is_begun = random.Random(0), 0, False
    for number in range(1, asked.kills + 1):
        is_inside, saved = one_round(
            store, asked.megabytes, draw.uniform(*asked.seconds), may_be_early=number % 10 == 0
        )
        counts["inside"] += is_inside or asked.direct
        is_begun |= bool(saved)
        try:
            step = loadable_step(store)
        except CheckpointError:
            step = None
        counts["loadable"] += step is not None or not is_begun
        counts["lost"] += bool(saved) and (step is None or step < saved[-1])
        counts["progressed"] += step is not None and step > before
        before = before if step is None else step
    return {**counts, "steps": before}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
