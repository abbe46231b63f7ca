"""Package metadata. Lower bounds are what the code needs; `constraints.txt` pins what was tested."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

BASE = [
    "torch>=2.7",
    "diffusers>=0.41,<0.44",  # private registries are used; see src/xwam/_diffusers_integration.py
    "transformers>=5.0",
    "huggingface-hub>=1.32,<3",
    "safetensors>=0.8",
    "accelerate>=1.10",
    "peft>=0.18",
    "datasets>=4.8",
    "pyarrow>=15",
    "pandas>=2.0",
    "tqdm>=4.60",
    "numpy>=1.23.5",  # RoboCasa v0.2 asserts 1.23
    "pillow>=10.1",
    "ftfy>=6.1",
    "av>=15",
    "pyyaml>=6",
    "wrapt>=1.16",
]
EXTRAS = {
    "train": ["tensorboard>=2.15"],
    # On MuJoCo 3.2 fingers sink into the button and slip.
    "sim": ["mujoco>=3.3", "gymnasium>=1.0"],
    # In an environment of its own: make test-robosuite. Newer releases of MuJoCo and NumPy break robosuite 1.5.2.
    "robosuite": [
        "robosuite==1.5.2; python_version<'3.13'",
        "mujoco>=3.3,<3.10; python_version<'3.13'",
        "numpy<2; python_version<'3.13'",
        "pandas<3",  # newer ones, and newer pyarrow, need NumPy 2
        "pyarrow<26",
        "h5py>=3.8",
    ],
    "serve": ["websockets>=13", "msgpack>=1.0"],
    "export": ["matplotlib>=3.8", "trimesh>=4.4"],
    "rerun": ["rerun-sdk>=0.41"],
    "metrics": ["evaluate>=0.4.6", "scipy>=1.11", "matplotlib>=3.8"],
    "test": [
        "pytest>=8",
        "pytest-cov>=5",
        "scipy>=1.11",
        "fastapi>=0.110",
        "uvicorn>=0.29",
        "python-multipart>=0.0.9",
        "gguf>=0.10",
        "torchao>=0.15",
        "scikit-image>=0.22",
        "torchmetrics>=1.4",
        "playwright>=1.45",
        "psutil>=5.9",
        "setuptools>=77",
    ],
}
EXTRAS["demo"] = ["gradio>=6", *EXTRAS["export"], *EXTRAS["metrics"]]
EXTRAS["dev"] = sorted(
    {*EXTRAS["test"], "ruff>=0.6", "mypy>=1.10", "ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"}
)

setup(
    name="xwam",
    version="0.1.0",
    description="X-WAM robot world models: load, run, fine-tune and look into them",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={
        "xwam": ["py.typed", "assets/embedded/**/*", "envs/assets/**/*", "envs/assets/*", "metrics/modules/*/*.py"]
    },
    include_package_data=False,
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["xwam=xwam.commands.dispatch:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
