"""Download a checkpoint from the Hugging Face Hub: one pinned commit, no pickles, no code, every byte compared.

`huggingface_hub` resumes cut transfers and compares sizes; it does not compare content (its issue 3643). Here the content
of each file is compared with the hash that the Hub lists for it, and with the checkpoint's own manifest where it has one.
"""

import glob
import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.file_download import repo_folder_name

from xwam.checkpoints.manifest import sha256_of_files, verify_manifest
from xwam.checkpoints.paths import contained_path
from xwam.checkpoints.retrying import http, retry
from xwam.checkpoints.sources import check_hub_id
from xwam.checkpoints.unsafe_files import CONVERT_HINT, kind_by_name
from xwam.checkpoints.verification import MODEL_INDEX_NAME, check_components, check_structure
from xwam.errors import CheckpointError, CorruptFileError, UnsafeFileError

ANSWER_TIMEOUT = 10.0  # seconds for the Hub to answer a question
CONNECT_TIMEOUT = 1.5  # seconds to reach it at all; one lost packet is sent again after 1 s

_WANTED_SUFFIXES = frozenset([".json", ".safetensors", ".txt", ".model", ".md", ".jinja"])

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The files of one commit.

    Args:
        commit (`str`): Commit hash that everything after this is pinned to.
        digests (`Mapping[str, str | None]`): By file name, what the Hub says of the content: SHA-256 of a large file, git's
            SHA-1 of a small one, `None` where only the cache was asked.
        is_complete (`bool`): Whether these are all files of the commit, else those that were downloaded once.
    """

    commit: str
    digests: Mapping[str, str | None]
    is_complete: bool = True


def fetch_snapshot(
    repo_id: str,
    *,
    revision: str | None = None,
    allow_patterns: Iterable[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    cache_dir: Path | str | None = None,
    passed: Collection[str] = (),
    hashes: bool = True,
    variant: str | None = None,
) -> Path:
    """Download a checkpoint into the Hugging Face cache and verify it as `verify_folder` does.

    The revision is resolved to a commit once; what is listed, downloaded and checked is that commit. When the Hub cannot
    be reached, the files in the cache are verified and used.

    Args:
        repo_id (`str`): Repository, such as `"org/name"`.
        revision (`str`, *optional*): Branch, tag or commit; else the main branch.
        allow_patterns (`Iterable[str]`, *optional*): Shell patterns of the files to consider; else all.
        token (`str | bool`, *optional*): Access token; else the stored one.
        local_files_only (`bool`, *optional*, defaults to `False`): Use the cache without asking the Hub.
        cache_dir (`Path | str`, *optional*): Cache of huggingface_hub; else its own.
        passed (`Collection[str]`): Components that the caller brings; their folders are not downloaded.
        hashes (`bool`, *optional*, defaults to `True`): Read every file and compare its hash; else only sizes and
            structure, which saves seconds per 10 GB when the cache is trusted.
        variant (`str`, *optional*): Weights that will be loaded, as for `verify_folder`.

    Returns:
        `Path`: The snapshot folder, verified.

    Raises:
        UnsafeFileError: If the repository holds code, or pickles where safetensors should be; nothing is downloaded then.
        CorruptFileError: If a file still differs from its hash after a second download; it is not left in the cache.
        CheckpointError: If the name cannot be one on the Hub, or the Hub cannot be reached and the cache lacks files.
    """
    check_hub_id(repo_id)
    storage = Path(cache_dir or constants.HF_HUB_CACHE).expanduser() / repo_folder_name(
        repo_id=repo_id, repo_type="model"
    )
    listing = None if local_files_only else _ask_hub(repo_id, revision, token)
    online = listing is not None
    listing = listing or _ask_cache(repo_id, revision, storage, local_files_only)
    for name in listing.digests:
        contained_path(storage, name)
    names = _select(repo_id, listing.digests, allow_patterns, passed)

    def download() -> Path:
        return Path(
            snapshot_download(
                repo_id,
                revision=listing.commit,
                allow_patterns=[glob.escape(name) for name in names],
                token=token,
                local_files_only=not online,
                cache_dir=storage.parent,
            )
        )

    folder, digests = _download_intact(
        download, names if hashes else [], listing, repo_id, online=online, local_files_only=local_files_only
    )
    check_structure(folder)
    if MODEL_INDEX_NAME in names:
        check_components(folder, passed=passed, variant=variant)
    verify_manifest(
        folder,
        hashes=hashes,
        known={name: digest for name, digest in digests.items() if len(digest) == 64},
        may_be_absent=lambda name: name not in names and (not listing.is_complete or name in listing.digests),
    )
    if online:
        _remember(storage, revision or constants.DEFAULT_REVISION, listing.commit)
    return folder


def _download_intact(
    download: Callable[[], Path],
    names: Collection[str],
    listing: Listing,
    repo_id: str,
    *,
    online: bool,
    local_files_only: bool,
) -> tuple[Path, dict[str, str]]:
    """The snapshot folder and the hashes its files were found to have; damaged files are downloaded once more."""
    damaged: list[str] = []
    for _ in range(2 if online else 1):
        if damaged:
            logger.warning("%s: %s differ from their hashes; downloading them again.", repo_id, damaged)
        if online:
            folder = retry(download, f"downloading {repo_id!r}")
        else:
            folder = _from_cache(download, repo_id, local_files_only)
        expected = _expected_digests(folder, names, listing)
        damaged = _discard_damaged(folder, expected)
        if not damaged:
            return folder, expected
    raise CorruptFileError(
        f"{len(damaged)} files of {repo_id!r} at {listing.commit} differ from the hashes the Hub lists, and were "
        f"removed from the cache: {', '.join(damaged[:10])}. Try again later or from another network."
    )


def _ask_hub(repo_id: str, revision: str | None, token: str | bool | None) -> Listing | None:
    """The commit and its files in one answer, or `None` when the Hub is out of reach."""
    timeout = http.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT)

    def ask() -> Listing | None:
        try:
            info = HfApi(token=token).model_info(repo_id, revision=revision, timeout=timeout, files_metadata=True)
        except (http.ConnectError, http.ConnectTimeout, OfflineModeIsEnabled) as error:
            logger.warning("The Hub cannot be reached (%s); looking for %s in the cache.", error, repo_id)
            return None
        files = info.siblings or []
        return Listing(
            str(info.sha), {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in files}
        )

    try:
        return retry(ask, f"listing {repo_id!r}")
    except CheckpointError as error:
        logger.warning("%s Looking for %s in the cache.", error, repo_id)
        return None


def _ask_cache(repo_id: str, revision: str | None, storage: Path, local_files_only: bool) -> Listing:
    """The commit that a revision stood for, and its files, as they were seen last."""
    commit = revision or constants.DEFAULT_REVISION
    if not re.fullmatch("[0-9a-f]{40}", commit):
        reference = contained_path(storage, f"refs/{commit}")
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
    snapshot = storage / "snapshots" / commit
    if not commit or not snapshot.is_dir():
        why = f"the cache has no {revision or 'main'!r} of it"
        raise CheckpointError(_offline_message(repo_id, why, local_files_only))
    try:
        tree = get_cached_repo_tree(repo_id, revision=commit, cache_dir=storage.parent)
        return Listing(commit, {file.path: None for file in tree})
    except CachedRepoTreeNotFoundError:
        files = [path for path in snapshot.rglob("*") if not path.is_dir()]
        return Listing(commit, {path.relative_to(snapshot).as_posix(): None for path in files}, is_complete=False)


def _select(
    repo_id: str, files: Collection[str], allow_patterns: Iterable[str] | None, passed: Collection[str]
) -> list[str]:
    """Names to download; raises before anything is."""
    patterns = None if allow_patterns is None else list(allow_patterns)
    asked = [
        name
        for name in sorted(files)
        if (patterns is None or any(fnmatch(name, pattern) for pattern in patterns))
        and PurePosixPath(name).parts[0] not in passed
    ]
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in asked:
        kinds[kind_by_name(name) or PurePosixPath(name).suffix.lower()].append(name)
    if kinds["code"]:
        raise UnsafeFileError(
            f"The repository {repo_id!r} holds code, {kinds['code'][:10]}; nothing was downloaded. Checkpoints hold none."
        )
    safe_folders = {PurePosixPath(name).parent for name in kinds[".safetensors"]}
    bare = [name for name in kinds["pickle"] + kinds["archive"] if PurePosixPath(name).parent not in safe_folders]
    if bare:
        raise UnsafeFileError(
            f"The repository {repo_id!r} holds {bare[:10]} and no safetensors beside them: loading a pickle could run any "
            f"code, so nothing was downloaded. {CONVERT_HINT}."
        )
    wanted = [name for name in asked if kind_by_name(name) is None and PurePosixPath(name).suffix in _WANTED_SUFFIXES]
    if not wanted:
        raise CheckpointError(f"The repository {repo_id!r} holds no file of a checkpoint.")
    return wanted


def _expected_digests(folder: Path, names: Collection[str], listing: Listing) -> dict[str, str]:
    """The Hub's hash of each file; where only the cache knows, the name of the blob that the snapshot links to."""
    expected: dict[str, str] = {}
    for name in names:
        path = contained_path(folder, name)
        blob = path.readlink().name if path.is_symlink() else ""
        digest = listing.digests[name] or blob
        if re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", digest):
            expected[name] = digest
    return expected


def _discard_damaged(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """Compare content with its hash; remove what differs from the cache, so that no one can load it."""
    found = sha256_of_files(folder, [name for name, digest in expected.items() if len(digest) == 64])
    found |= {name: _git_oid(folder / name) for name, digest in expected.items() if len(digest) == 40}
    damaged = sorted(name for name, digest in expected.items() if found[name] != digest)
    for name in damaged:
        _remove(folder / name)
    return damaged


def _git_oid(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _remove(path: Path) -> None:
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def _from_cache(download: Callable[[], Path], repo_id: str, local_files_only: bool) -> Path:
    try:
        return download()
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            _offline_message(repo_id, "the cache holds only a part of it", local_files_only)
        ) from error


def _offline_message(repo_id: str, why: str, local_files_only: bool) -> str:
    if local_files_only:
        reason, advice = "`local_files_only` is True", "Pass `local_files_only=False`"
    elif constants.is_offline_mode():
        reason, advice = "HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE"
    else:
        reason, advice = "it cannot be reached or keeps failing", "Connect to the network and load it once"
    return f"{repo_id!r} cannot be loaded from the Hub ({reason}) and {why}. {advice}, or give the path of a local folder."


def _remember(storage: Path, revision: str, commit: str) -> None:
    """Let the branch name stand for this commit when the Hub is out of reach; only a verified one gets here."""
    reference = contained_path(storage, f"refs/{revision}")
    if revision == commit or (reference.is_file() and reference.read_text(encoding="utf-8") == commit):
        return
    temporary = reference.with_name(f".{reference.name}.{os.getpid()}")
    try:
        reference.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(commit, encoding="utf-8")
        temporary.replace(reference)
    except OSError as error:
        logger.warning("The cache does not remember %s of %s (%s).", revision, storage.name, error)
