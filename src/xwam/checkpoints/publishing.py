"""Publish files on the Hugging Face Hub, so that what is there afterwards fits its manifest."""

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoSibling

from xwam.checkpoints.manifest import FileRecord, is_listed, records_of_files, write_manifest
from xwam.checkpoints.paths import list_files


class HubRepository:
    """A model repository, as it was when this was made.

    Args:
        repo_id (`str`): Such as `"user/my-robot-xwam"`; made where it does not exist.
        token (`str`, *optional*): Access token.
        private (`bool`, *optional*): Visibility of a new repository.
    """

    def __init__(self, repo_id: str, *, token: str | None = None, private: bool | None = None) -> None:
        self._api = HfApi(token=token)
        self.repo_id: str = self._api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        info = self._api.model_info(self.repo_id, files_metadata=True)
        self._commit = info.sha
        self._files = {file.rfilename: file for file in info.siblings or []}

    @property
    def files(self) -> Collection[str]:
        """Names of its files, with forward slashes."""
        return self._files.keys()

    def publish(
        self, folder: Path, *, replaced: Collection[str] = (), create_pr: bool = False, commit_message: str
    ) -> str:
        """Upload all files of a folder in one commit, with a manifest of what is in the repository then.

        Args:
            folder (`Path`): Its manifest is written anew, to list what stays in the repository as well.
            replaced (`Collection[str]`): Files of the repository that go away where no new ones take their place.
            create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead.
            commit_message (`str`): Message of the commit.

        Returns:
            `str`: Address of the commit or pull request.

        Raises:
            HfHubHTTPError: If the repository was changed meanwhile, or the Hub refuses; nothing is published then.
        """
        leaving = {*replaced, *list_files(folder)}
        write_manifest(folder, beside=self._records(file for name, file in self._files.items() if name not in leaving))
        commit = self._api.upload_folder(
            repo_id=self.repo_id, folder_path=folder, commit_message=commit_message, create_pr=create_pr,
            parent_commit=self._commit, delete_patterns=sorted(replaced),  # but for those that are uploaded
        )  # fmt: skip
        return str(commit.pr_url if create_pr else commit.commit_url)

    def _records(self, files: Iterable[RepoSibling]) -> dict[str, FileRecord]:
        """What the manifest says of files of the repository: the Hub tells the hash of the large ones, the others are fetched."""
        listed = [file for file in files if is_listed(file.rfilename)]
        records = {file.rfilename: FileRecord(file.lfs.size, file.lfs.sha256) for file in listed if file.lfs}
        small = [file.rfilename for file in listed if not file.lfs]
        with tempfile.TemporaryDirectory() as folder:
            for name in small:
                self._api.hf_hub_download(self.repo_id, name, revision=self._commit, local_dir=folder)
            return {**records, **records_of_files(Path(folder), small)}
