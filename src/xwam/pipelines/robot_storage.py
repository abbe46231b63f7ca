"""Saving and publishing of one robot of a pipeline: its folder and its model card."""

import tempfile
from pathlib import Path

from huggingface_hub import HfApi

from xwam.checkpoints.verification import verify_component
from xwam.loaders.robot_adapter import XWAMRobotMixin
from xwam.loaders.robot_files import read_robot_adapter, write_robot_adapter
from xwam.pipelines.model_card import ModelCard, check_card, render_robot_card
from xwam.pipelines.storage import MODEL_CARD_NAME

COMMIT_MESSAGE = "Upload a robot of X-WAM"


class RobotStorage(XWAMRobotMixin):
    """A pipeline whose robots can be saved one by one."""

    def save_robot(
        self, save_directory: str | Path, adapter_name: str | None = None, *, card: ModelCard | None = None
    ) -> None:
        """Write one robot into a folder of its own: LoRA, networks, `RobotSpec`, model card, manifest.

        Args:
            save_directory (`str` or `Path`): Folder; made where it does not exist.
            adapter_name (`str`, *optional*): Which robot; the active one where not given.
            card (`ModelCard`, *optional*): What only you know: training data, licence, measurements. A card that is already in
                the folder is kept when this is not given.

        Raises:
            TypeError: If `card` is no `ModelCard`; nothing is written then.
            ValueError: If there is no such robot, or none is active; nothing is written then.
        """
        check_card(card)
        adapter = self.robot_adapter(adapter_name)
        folder = Path(save_directory)
        if card is not None:
            (folder / MODEL_CARD_NAME).unlink(missing_ok=True)
        write_robot_adapter(folder, adapter, render_robot_card(adapter, card or ModelCard()))

    def push_robot_to_hub(
        self,
        repo_id: str,
        adapter_name: str | None = None,
        *,
        card: ModelCard | None = None,
        token: str | None = None,
        private: bool | None = None,
        create_pr: bool = False,
        commit_message: str = COMMIT_MESSAGE,
    ) -> str:
        """Publish one robot on the Hugging Face Hub, in one commit; `load_robot(repo_id)` brings it back.

        Args:
            repo_id (`str`): Repository, such as `"user/my-robot-xwam"`; made where it does not exist.
            adapter_name (`str`, *optional*): Which robot; the active one where not given.
            card (`ModelCard`, *optional*): What only you know; see `save_robot`.
            token (`str`, *optional*): Access token.
            private (`bool`, *optional*): Visibility of a new repository.
            create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead.
            commit_message (`str`, *optional*, defaults to `COMMIT_MESSAGE`): Message of the commit.

        Returns:
            `str`: Address of the commit or pull request.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_robot(folder, adapter_name, card=card)
            return publish_robot(
                folder, repo_id, token=token, private=private, create_pr=create_pr, commit_message=commit_message
            )


def publish_robot(
    folder: str | Path,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool | None = None,
    create_pr: bool = False,
    commit_message: str = COMMIT_MESSAGE,
) -> str:
    """Publish the folder of a robot, as `save_robot` or a training run wrote it, in one commit.

    Args:
        folder (`str` or `Path`): The folder; compared with its manifest first.
        repo_id (`str`): Repository, such as `"user/my-robot-xwam"`; made where it does not exist.
        token (`str`, *optional*): Access token.
        private (`bool`, *optional*): Visibility of a new repository.
        create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead.
        commit_message (`str`, *optional*, defaults to `COMMIT_MESSAGE`): Message of the commit.

    Returns:
        `str`: Address of the commit or pull request.

    Raises:
        CheckpointError: If the folder is not that of a robot, or damaged; nothing is published then.
    """
    verify_component(folder)
    read_robot_adapter(Path(folder))
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message, create_pr=create_pr)
    return str(commit.pr_url if create_pr else commit.commit_url)
