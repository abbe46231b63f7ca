"""A Hugging Face Hub on 127.0.0.1, with files in a folder and with faults on demand.

It answers what huggingface_hub 2.4 asks when it uploads and downloads without Xet: create_repo, preupload, the LFS batch and
PUT, the ndjson commit, tags, info, tree, paths-info and resolve with Range. diffusers and transformers use the same calls.

huggingface_hub reads HF_ENDPOINT once, when it is imported, and many libraries copy the value. `reserve` therefore sets the
environment before any of them is imported: tests/conftest.py calls it at the top of the file, which binds a port that
nobody listens on. Until a test asks for the `loopback_hub` fixture every request to the Hub is refused at once, so no test
can reach the network by accident. The server runs in a thread of the test process; `push_to_hub`,
`from_pretrained("org/name")` and `DiffusionPipeline.from_pretrained("org/name")` need nothing else.
"""

import base64
import contextlib
import hashlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

LARGE_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".model", ".npz"})


def reserve() -> tuple[socket.socket, Path]:
    """Bind a port and point every Hub library of this process to it; call before they are imported.

    Returns:
        `tuple[socket.socket, Path]`: The bound socket and the folder for caches, to be removed at the end.
    """
    if "huggingface_hub" in sys.modules:
        raise RuntimeError("huggingface_hub was imported before tests/conftest.py could point it to the loopback hub.")
    reserved = _bind(0)
    home = Path(tempfile.mkdtemp(prefix="loopback-hub-"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        os.environ.pop(name, None)
    os.environ |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{reserved.getsockname()[1]}",
        "HF_HOME": str(home / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return reserved, home


@dataclass
class Fault:
    """Something that goes wrong with the next answers.

    Args:
        kind (`str`): `"cut"`, `"corrupt"` or `"status"`.
        times (`int`): Answers it strikes.
        value (`int`): Bytes to send before the cut, or the status code.
    """

    kind: str
    times: int
    value: int = 0


@dataclass
class Repository:
    """Commits of one repository: file name to SHA-256 of the content; the last is `main`. Tags are names of commits."""

    commits: dict[str, dict[str, str]] = field(default_factory=lambda: {"0" * 40: {}})
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    def commit_of(self, revision: str) -> str | None:
        if revision == "main":
            return self.head
        return revision if revision in self.commits else self.tags.get(revision)


class ConflictError(Exception):
    """A commit has happened since the one that was named as parent."""


class LoopbackHub:
    """The server, its content and its faults.

    Args:
        reserved (`socket.socket`): Bound socket, from `reserve`.
        folder (`Path`): Where contents are stored.

    `requests` lists method and path of all that was asked, `sent` the bytes of each file that were sent. `after_listing` is called once, after the next answer that
    lists files, and forgotten.
    """

    def __init__(self, reserved: socket.socket, folder: Path) -> None:
        self.port: int = reserved.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True, exist_ok=True)
        self.after_listing: Callable[[], object] | None = None
        self._socket: socket.socket | None = reserved
        self._stop: Callable[[], None] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all repositories, requests and faults."""
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.sent: dict[str, int] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.after_listing = None

    def commit(
        self, repo_id: str, files: Mapping[str, bytes], *, delete: tuple[str, ...] = (), kind: str = "models"
    ) -> str:
        """Add files to a model repository, or to one of another kind, made where it is new, and return the commit hash."""
        repository = self.repositories.setdefault(f"{kind}/{repo_id}", Repository())
        return self._commit(repository, {name: self.store(content) for name, content in files.items()}, delete)

    def commit_folder(self, repo_id: str, folder: Path, *, kind: str = "models") -> str:
        """Add all files of a folder."""
        files = (path for path in folder.rglob("*") if path.is_file())
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        return self.commit(repo_id, contents, kind=kind)

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Content of a model repository by file name."""
        repository = self.repositories[f"models/{repo_id}"]
        tree = repository.commits[repository.commit_of(revision) or ""]
        return {name: (self.objects / digest).read_bytes() for name, digest in tree.items()}

    def cut(self, name: str, after: int, *, times: int = 1) -> None:
        """Close the connection after so many bytes of a file."""
        self.faults.setdefault(name, []).append(Fault("cut", times, after))

    def corrupt(self, name: str, *, times: int = 1) -> None:
        """Send a file with one wrong byte in the middle, under the right size and hash."""
        self.faults.setdefault(name, []).append(Fault("corrupt", times))

    def fail(self, times: int, *, status: int = 503, name: str = "*") -> None:
        """Answer with an error status: to whatever comes next, or only when this file is asked for."""
        self.faults.setdefault(name, []).append(Fault("status", times, status))

    @contextlib.contextmanager
    def offline(self) -> Iterator[None]:
        """Nobody listens on the port; connections are refused."""
        self.stop()
        try:
            yield
        finally:
            self._socket = _bind(self.port)
            self.start()

    def start(self) -> None:
        """Listen, in a thread of this process."""
        import uvicorn
        from loopback_routes import application

        if self._socket is None:
            raise RuntimeError("The loopback hub has no port to listen on.")
        server = uvicorn.Server(uvicorn.Config(application(self), log_level="critical", timeout_graceful_shutdown=1))
        sockets = [self._socket]
        thread = threading.Thread(target=lambda: server.run(sockets=sockets), name="loopback-hub", daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("The loopback hub did not start.")
            time.sleep(0.01)

        def stop() -> None:
            server.should_exit = True
            thread.join(timeout=10)

        self._stop = stop

    def stop(self) -> None:
        """Close the port."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def store(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.objects / digest).write_bytes(content)
        return digest

    def take_fault(self, name: str, kinds: tuple[str, ...]) -> Fault | None:
        for fault in self.faults.get(name, []):
            if fault.times > 0 and fault.kind in kinds:
                fault.times -= 1
                return fault
        return None

    def apply_commit(self, repository: Repository, lines: list[dict[str, Any]]) -> str:
        added: dict[str, str] = {}
        removed: list[str] = []
        for line in lines:
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, repository.head):
                raise ConflictError
            if line["key"] == "file":
                added[value["path"]] = self.store(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                added[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                removed.append(value["path"])
            elif line["key"] == "deletedFolder":
                removed += [name for name in repository.commits[repository.head] if name.startswith(value["path"])]
        return self._commit(repository, added, tuple(removed))

    def describe(self, repo_id: str, repository: Repository, commit: str) -> dict[str, Any]:
        siblings = []
        for entry in self.tree(repository, commit):
            file = {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
            if "lfs" in entry:
                file["lfs"] = {"sha256": entry["lfs"]["oid"], **entry["lfs"]}
            siblings.append(file)
        return {"id": repo_id, "modelId": repo_id, "sha": commit, "private": False, "tags": [], "siblings": siblings}

    def tree(self, repository: Repository, commit: str) -> list[dict[str, Any]]:
        return [self.entry(name, digest) for name, digest in sorted(repository.commits[commit].items())]

    def entry(self, name: str, digest: str) -> dict[str, Any]:
        content = (self.objects / digest).read_bytes()
        if not is_large(name, len(content)):
            return {"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
        lfs = {"oid": digest, "size": len(content), "pointerSize": len(pointer)}
        return {"type": "file", "path": name, "size": len(content), "oid": git_oid(pointer), "lfs": lfs}

    def _commit(self, repository: Repository, added: Mapping[str, str], removed: tuple[str, ...]) -> str:
        tree = {**repository.commits[repository.head], **added}
        tree = {name: digest for name, digest in tree.items() if name not in removed}
        seed = json.dumps([repository.head, sorted(tree.items())])
        commit = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        repository.commits[commit] = tree
        return commit


def is_large(name: str, size: int) -> bool:
    """Whether the Hub keeps such a file in LFS."""
    return size > 10_000_000 or (size > 0 and PurePosixPath(name).suffix in LARGE_SUFFIXES)


def git_oid(content: bytes) -> str:
    """SHA-1 that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
