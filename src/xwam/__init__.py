"""X-WAM robot world models: load, run, fine-tune and look into them.

Names are imported when they are first used; `import xwam` imports neither torch nor diffusers.
"""

from xwam import _diffusers_integration
from xwam.utils.lazy import lazy_exports

__version__ = "0.1.0"

_HOME_OF_NAME = {
    # The robot's side
    "ActionChunk": "xwam.structures",
    "ArmState": "xwam.structures",
    "Camera": "xwam.structures",
    "JointState": "xwam.structures",
    "Observation": "xwam.structures",
    "RobotProcessor": "xwam.robots.processor",
    "RobotSpec": "xwam.robots.spec",
    "get_robot": "xwam.robots.registry",
    "list_robots": "xwam.robots.registry",
    # What was imagined, or came
    "Future": "xwam.futures.future",
    "PointCloud": "xwam.structures",
    "load_future": "xwam.export.future_folder",
    "act_out": "xwam.evaluation.reality",
    "compare": "xwam.evaluation.reality",
    "point_cloud": "xwam.futures.point_clouds",
    "save_future": "xwam.export.future_folder",
    "static_cloud": "xwam.futures.point_clouds",
    "XWAM4DOutput": "xwam.pipelines.pipeline_output",
    "XWAMPolicyOutput": "xwam.pipelines.pipeline_output",
    # Worlds and what acts in them
    "Environment": "xwam.envs.base",
    "Policy": "xwam.policies.base",
    "PipelinePolicy": "xwam.policies.pipeline_policy",
    "ScriptedPolicy": "xwam.policies.scripted",
    "list_envs": "xwam.envs.registry",
    "make_env": "xwam.envs.registry",
    "run_episode": "xwam.policies.closed_loop",
    "load_recorded_observation": "xwam.envs.recorded",
    # Recordings and training
    "Augmentation": "xwam.data.streams.augmentation",
    "Clip": "xwam.structures",
    "ClipDataset": "xwam.data.streams.clip_dataset",
    "DatasetMap": "xwam.data.dataset_map",
    "LoraSettings": "xwam.training.lora",
    "Mixture": "xwam.data.streams.mixture",
    "TrainConfig": "xwam.training.config",
    "Trainer": "xwam.training.trainer",
    "compute_quantiles": "xwam.data.statistics.quantiles",
    "make_stream": "xwam.data.streams.stream",
    "open_dataset": "xwam.data.readers.open",
    "prepare_lora": "xwam.training.lora",
    "robot_export": "xwam.training.lora",
    # The model's side
    "XWAM4DPipeline": "xwam.pipelines.pipeline_xwam_4d",
    "XWAMPolicyPipeline": "xwam.pipelines.pipeline_xwam_policy",
    "XWAMScheduler": "xwam.schedulers.scheduling_xwam",
    "XWAMTransformer3DModel": "xwam.models.transformer_xwam",
    "create_embedded_pipeline": "xwam.pipelines.embedded",
    # Bases that diffusers asks this package for
    "ModelMixin": "diffusers",
    "SchedulerMixin": "diffusers.schedulers",
}

__all__, __getattr__, __dir__ = lazy_exports(__name__, _HOME_OF_NAME)

_diffusers_integration.install()
