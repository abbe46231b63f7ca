"""Run a scenario of `test_ranks.py` on two forked processes that speak gloo; one import serves all scenarios.

Usage:
    python tests/training/run_on_ranks.py FOLDER [SCENARIO …]

Every scenario writes `FOLDER/<scenario>/<rank>.json`; exit codes and seconds stand in `FOLDER/results.json`.
"""

import importlib.util
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from tiny_run import make_trainer, new_process_state  # noqa: E402

from xwam.training import checkpoint_store  # noqa: E402

NUM_RANKS = 2
MOST_SECONDS = 120.0  # after which the rest of a broken run must be over
OPTIONS = {
    "ema_decay": 0.9,
    "accumulation": 2,
    "export": lambda pipeline, folder: (folder / "x.json").write_text("{}"),
}

Scenario = Callable[[Path, int], object]


def curve(reports) -> list[dict[str, object]]:
    return [
        {"step": own.step, "losses": own.losses, "norm": own.gradient_norm, "indices": own.indices} for own in reports
    ]


def train(folder: Path, rank: int, **changes) -> object:
    trainer, reports = make_trainer(folder / "run", **{**OPTIONS, **changes})
    result = trainer.run()
    return {
        "curve": curve(reports),
        "stopped_by": result.stopped_by,
        "kind": trainer.accelerator.distributed_type.value,
    }


def ddp(folder: Path, rank: int) -> object:
    return train(folder, rank)


def cut(folder: Path, rank: int) -> object:
    """Only the second process hears the signal; both stop after step 7 and go on."""
    calls = iter(range(1, 1000))

    def encode(batch):
        if next(calls) == 13 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    first = train(folder, rank, encode=encode)
    torch.distributed.destroy_process_group()
    os.environ["MASTER_PORT"] = os.environ["NEXT_PORT"]
    return {"first": first, "second": train(folder, rank)}


def begun_by_two(folder: Path, rank: int) -> object:
    return train(folder, rank, steps=6)


def goes_on_with_two(folder: Path, rank: int) -> object:
    """What one process began in `folder/run`."""
    return train(folder, rank, steps=8)


def dies(folder: Path, rank: int) -> object:
    def die(report):
        if report.step == 5 and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return train(folder, rank, on_step=die, save_interval=2)


def full_disk(folder: Path, rank: int) -> object:
    """The first process cannot write; with `stop`, both end."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return train(folder, rank, save_interval=2, on_save_error="stop")


def full_disk_does_not_stop(folder: Path, rank: int) -> object:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return train(folder, rank, steps=3, save_interval=3)


def validations_differ(folder: Path, rank: int) -> object:
    """The loss falls for the first process and rises for the second."""
    losses = iter([2.0, 1.0] if rank == 0 else [3.0, 4.0])
    trainer, _ = make_trainer(
        folder / "run", steps=2, validation_interval=1, validate=lambda *_: {"loss": next(losses)}, **OPTIONS
    )
    trainer.run()
    return {"best": trainer.progress.best}


def each_for_itself(folder: Path, rank: int) -> object:
    """Without this variable, accelerate finds no device and leaves two single processes."""
    del os.environ["ACCELERATE_USE_CPU"]
    return train(folder, rank)


def fsdp_on_cpu(folder: Path, rank: int) -> object:
    """accelerate would train with DDP and say nothing."""
    os.environ.update(FSDP_ENVIRONMENT)
    return train(folder, rank)


FSDP_ENVIRONMENT = {
    "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_TRANSFORMER_CLS_TO_WRAP": "XWAMTransformerBlock",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}  # fmt: skip


def fsdp_persuaded(folder: Path, rank: int) -> object:
    """FSDP2 for real: accelerate is told that these CPUs are devices of a kind that it shards on."""
    from accelerate.state import DistributedType, PartialState

    os.environ.update(FSDP_ENVIRONMENT)
    del os.environ["ACCELERATE_USE_CPU"]
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
    first = train(folder, rank, steps=6, encode=stop_at(7))
    again = train(folder, rank, steps=6)
    from torch.distributed.tensor import DTensor

    trainer, _ = make_trainer(folder / "other", **OPTIONS)
    sharded = [isinstance(p, DTensor) for p in trainer.pipeline.transformer.parameters()]
    return {"first": first, "second": again, "sharded": sum(sharded), "parameters": len(sharded)}


def zero2(folder: Path, rank: int) -> object:
    """DeepSpeed for real, persuaded likewise."""
    return zero(folder, rank, "2")


def zero3(folder: Path, rank: int) -> object:
    return zero(folder, rank, "3")


def zero(folder: Path, rank: int, stage: str) -> object:
    from accelerate.state import DistributedType, PartialState

    os.environ.update(
        ACCELERATE_USE_DEEPSPEED="true", ACCELERATE_DEEPSPEED_ZERO_STAGE=stage, ACCELERATE_DEEPSPEED_ZERO3_INIT="false",
        ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL="true", DS_ACCELERATOR="cpu",
    )  # fmt: skip
    del os.environ["ACCELERATE_USE_CPU"]
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
    return train(
        folder, rank, steps=6, ema_decay=None, export=lambda pipeline, folder: pipeline.save_pretrained(folder)
    )


def stop_at(call: int):
    calls = iter(range(1, 1000))

    def encode(batch):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    return encode


SCENARIOS: dict[str, Scenario] = {
    own.__name__: own
    for own in (
        ddp,
        cut,
        begun_by_two,
        goes_on_with_two,
        dies,
        full_disk,
        full_disk_does_not_stop,
        validations_differ,
        each_for_itself,
        fsdp_on_cpu,
        fsdp_persuaded,
    )
}


if importlib.util.find_spec("deepspeed") is not None:
    SCENARIOS |= {"zero2": zero2, "zero3": zero3}


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def run_rank(scenario: Scenario, folder: Path, rank: int, ports: tuple[int, int]) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(NUM_RANKS), LOCAL_WORLD_SIZE=str(NUM_RANKS),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports[0]), NEXT_PORT=str(ports[1]), ACCELERATE_USE_CPU="true",
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    sys.stderr = open(folder / f"{rank}.log", "w", buffering=1)  # noqa: SIM115 - the process ends with it
    os.dup2(sys.stderr.fileno(), 2)
    torch.set_num_threads(1)
    checkpoint_store.SAVE_WAITS = (0.0, 0.0)
    new_process_state()
    try:
        answer = scenario(folder, rank)
        (folder / f"{rank}.json").write_text(json.dumps(answer))
    except BaseException as error:  # noqa: BLE001 - told to the process that started this one
        (folder / f"{rank}.json").write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(scenario: str, folder: Path) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    ports, start = (free_port(), free_port()), time.monotonic()
    children = []
    for rank in range(NUM_RANKS):
        child = os.fork()
        if child == 0:
            run_rank(SCENARIOS[scenario], folder, rank, ports)
        children.append(child)
    codes = [wait_for(child, start + MOST_SECONDS) for child in children]
    return {"codes": codes, "seconds": time.monotonic() - start}


def wait_for(child: int, until: float) -> int | None:
    """Exit code; `None` for a process that hung."""
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0])
    assert Accelerator is not None, "imported before the fork"
    results = {name: run(name, folder / name) for name in arguments[1:] or SCENARIOS}
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
