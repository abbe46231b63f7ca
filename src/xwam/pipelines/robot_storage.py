"""Saving and publishing of one robot of a pipeline: its folder and its model card."""

import shutil
import tempfile
from pathlib import Path

from xwam.checkpoints.publishing import HubRepository
from xwam.checkpoints.verification import verify_component
from xwam.loaders.robot_adapter import XWAMRobotMixin
from xwam.loaders.robot_files import read_robot_adapter, write_robot_adapter
from xwam.pipelines.model_card import ModelCard, check_card, published_card, render_robot_card
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
        text = render_robot_card(adapter, card or ModelCard())
        write_robot_adapter(Path(save_directory), adapter, text, replaces_card=card is not None)

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
            card (`ModelCard`, *optional*): What only you know; see `save_robot`. A card that is already there is kept when this
                is not given.
            token (`str`, *optional*): Access token.
            private (`bool`, *optional*): Visibility of a new repository.
            create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead.
            commit_message (`str`, *optional*, defaults to `COMMIT_MESSAGE`): Message of the commit.

        Returns:
            `str`: Address of the commit or pull request.
        """
        check_card(card)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.save_robot(folder, adapter_name, card=published_card(card, repo_id))
            repository = HubRepository(repo_id, token=token, private=private)
            if card is None and MODEL_CARD_NAME in repository.files:
                (folder / MODEL_CARD_NAME).unlink()
            return repository.publish(folder, create_pr=create_pr, commit_message=commit_message)


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
    repository = HubRepository(repo_id, token=token, private=private)
    with tempfile.TemporaryDirectory() as name:
        copy = shutil.copytree(folder, Path(name) / "robot", ignore=shutil.ignore_patterns(".cache", ".git"))
        return repository.publish(copy, create_pr=create_pr, commit_message=commit_message)
