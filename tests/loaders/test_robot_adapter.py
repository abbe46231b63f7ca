"""Robots on one base: loaded, chosen, unloaded, merged; a base that is asked again answers bit for bit as before."""

import copy

import pytest
import torch
from ecosystem_samples import ATTENTION, act, dream, make_pipeline, randomize_
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from robot_adapter_samples import (
    FOUR_CAMERAS,
    JOINT_ARM,
    LAYERS,
    STEPS,
    WEIGHTS,
    drive,
    lora,
    observe,
    write_robot,
)
from safetensors.torch import load_file

from xwam import XWAM4DPipeline, XWAMPolicyPipeline
from xwam.errors import CheckpointError, ObservationError


@pytest.fixture(scope="module")
def joint_arm(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp("joint_arm"))


@pytest.fixture(scope="module")
def four_eyes(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp("four"), FOUR_CAMERAS, seed=8, rank=2, targets=LAYERS, use_rslora=False)


@pytest.fixture(scope="module")
def base():
    """What the base answers before anything was loaded."""
    return act(make_pipeline())


def tensors_of(pipe) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in pipe.transformer.state_dict().items()}


def public(config) -> dict:
    return {name: value for name, value in config.items() if not name.startswith("_")}


def assert_untouched(pipe, before, config, processor):
    after = pipe.transformer.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert public(pipe.transformer.config) == config
    assert pipe.robot_processor is processor
    assert pipe.robots == []
    assert not getattr(pipe.transformer, "peft_config", None)
    assert not any(isinstance(module, BaseTunerLayer) for module in pipe.transformer.modules())


class TestOneRobot:
    def test_saved_and_loaded_it_answers_the_same(self, joint_arm):
        folder, expected = joint_arm
        pipe = make_pipeline()
        assert pipe.load_robot(folder) == "joint_arm"
        assert (pipe.robots, pipe.active_robot) == (["joint_arm"], "joint_arm")
        assert torch.equal(drive(pipe), expected)
        assert expected.shape == (1, 8, 9)
        assert pipe.robot_processor.spec == JOINT_ARM
        chunk = pipe(observe(), num_action_steps=1, num_inference_steps=1).actions[0]
        assert chunk.columns[0] == "left_joint_1"
        assert len(chunk.commands) == 8

    def test_switched_off_the_base_answers_bit_for_bit_as_before(self, joint_arm, base):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        drive(pipe)
        pipe.set_robot(None)
        assert torch.equal(act(pipe), base)
        with pytest.raises(ObservationError):
            pipe(observe())
        pipe.set_robot("joint_arm")
        assert torch.equal(drive(pipe), joint_arm[1])

    def test_unloaded_nothing_is_left(self, joint_arm, base):
        pipe = make_pipeline()
        before, config, processor = tensors_of(pipe), public(pipe.transformer.config), pipe.robot_processor
        pipe.load_robot(joint_arm[0])
        pipe.unload_robot()
        assert_untouched(pipe, before, config, processor)
        assert torch.equal(act(pipe), base)

    def test_depth_is_adapted_too(self, joint_arm):
        pipe = make_pipeline(XWAM4DPipeline)
        pipe.load_robot(joint_arm[0])
        arguments = {"num_action_steps": 2, "num_inference_steps": 2, "output_type": "latent"}

        def depth():
            return pipe(observe(), generator=torch.Generator().manual_seed(0), **arguments).depth_images

        with_lora = depth()
        with torch.no_grad():
            for name, parameter in pipe.transformer.named_parameters():
                if name.startswith("depth_blocks") and "lora_B" in name:
                    parameter.zero_()
        assert float((depth() - with_lora).abs().max()) > 1e-3

    def test_without_the_depth_branch_the_actions_are_the_same(self, joint_arm):
        pipe = make_pipeline()
        lean = XWAMPolicyPipeline.from_pipe(pipe, transformer=pipe.transformer.without_depth())
        lean.set_progress_bar_config(disable=True)
        lean.load_robot(joint_arm[0])
        assert not any("depth_blocks" in name for name in lean.transformer.state_dict())
        assert torch.equal(drive(lean), joint_arm[1])

    def test_its_scale_is_one_of_the_call(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        without = drive(pipe, attention_kwargs={"scale": 0.0})
        assert float((without - joint_arm[1]).abs().max()) > 1e-3
        assert torch.equal(drive(pipe), joint_arm[1])

    def test_more_and_fewer_cameras_than_the_base(self, joint_arm, four_eyes):
        pipe = make_pipeline()
        known = pipe.transformer.view_embedding.weight.clone()
        for robot, folder in ((JOINT_ARM, joint_arm[0]), (FOUR_CAMERAS, four_eyes[0])):
            pipe.load_robot(folder)
            assert pipe.transformer.config.num_views == len(robot.cameras)
        assert torch.equal(drive(pipe, FOUR_CAMERAS), four_eyes[1])
        pipe.set_robot(None)
        assert torch.equal(pipe.transformer.view_embedding.weight, known)

    def test_the_dropout_of_training_is_over(self, tmp_path):
        """New LoRA layers start in training mode, whatever the mode of the model."""
        folder, _ = write_robot(tmp_path, lora_dropout=0.5)
        pipe = make_pipeline()
        pipe.load_robot(folder)
        assert torch.equal(drive(pipe), drive(pipe))
        assert pipe.transformer.peft_config["joint_arm"].lora_dropout == 0.5

    def test_alpha_and_kind_of_scaling_survive(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        config = pipe.transformer.peft_config["joint_arm"]
        assert (config.r, config.lora_alpha, config.use_rslora) == (4, 6, True)
        assert pipe.transformer.blocks[0].attn1.to_q.scaling["joint_arm"] == pytest.approx(6 / 4**0.5)

    def test_nothing_of_it_is_trained_without_being_asked(self, joint_arm):
        pipe = make_pipeline()
        pipe.transformer.requires_grad_(False)
        pipe.load_robot(joint_arm[0])
        trained = {n for n, p in pipe.transformer.named_parameters() if p.requires_grad}
        assert not {name for name in trained if "lora_" not in name and name.split(".")[0] == "blocks"}

    def test_a_new_robot_does_not_touch_the_callers_random_state(self):
        pipe = make_pipeline()
        state = torch.get_rng_state()
        pipe.add_robot(JOINT_ARM, lora())
        assert torch.equal(torch.get_rng_state(), state)
        pipe.add_robot(JOINT_ARM, lora(), adapter_name="again")
        first, second = (get_peft_model_state_dict(pipe.transformer, adapter_name=n) for n in ("joint_arm", "again"))
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_a_new_robot_begins_at_the_base_trunk(self):
        """Before training the LoRA is nothing: with the base's own networks the answer is the base's."""
        pipe = make_pipeline()
        expected = act(pipe)
        own = {name: copy.deepcopy(getattr(pipe.transformer, name)) for name in ("action_embedder", "action_proj_out")}
        own |= {name: copy.deepcopy(getattr(pipe.transformer, name)) for name in ("state_embedder", "state_proj_out")}
        pipe.add_robot(pipe.robot_processor.spec, lora(), adapter_name="same")
        for name, module in own.items():
            setattr(pipe.transformer, name, module)
        torch.testing.assert_close(act(pipe), expected, rtol=0, atol=1e-6)


class TestSeveralRobots:
    def test_switching_changes_everything_together(self, joint_arm, four_eyes, base):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0], adapter_name="a")
        pipe.load_robot(four_eyes[0], adapter_name="b")
        pipe.load_robot(joint_arm[0], adapter_name="c")
        assert pipe.robots == ["a", "b", "c"]
        for name in ("b", "a", None, "c", "b", None, "a"):
            pipe.set_robot(name)
            assert pipe.active_robot == name
            if name is None:
                assert torch.equal(act(pipe), base)
            elif name == "b":
                assert torch.equal(drive(pipe, FOUR_CAMERAS), four_eyes[1])
            else:
                assert torch.equal(drive(pipe), joint_arm[1])
        pipe.set_robot("b")
        pipe.unload_robot("a")
        assert torch.equal(drive(pipe, FOUR_CAMERAS), four_eyes[1])
        pipe.unload_robot("b")
        assert pipe.active_robot is None
        assert torch.equal(act(pipe), base)
        pipe.set_robot("c")
        assert torch.equal(drive(pipe), joint_arm[1])

    def test_an_unknown_name_lists_those_that_are_loaded(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        for call in (pipe.set_robot, pipe.unload_robot):
            with pytest.raises(ValueError, match=r"'other'.*\['joint_arm'\]"):
                call("other")

    def test_the_other_pipeline_of_the_same_weights(self, joint_arm):
        """Both share the transformer; one that still has the old border says what to call instead of mixing robots."""
        policy = make_pipeline()
        pipe4d = XWAM4DPipeline.from_pipe(policy)
        pipe4d.set_progress_bar_config(disable=True)
        future = dream(pipe4d)
        policy.load_robot(joint_arm[0])
        with pytest.raises(ValueError, match=r"set_robot\('joint_arm'\)"):
            dream(pipe4d)
        pipe4d.set_robot("joint_arm")
        arguments = {"generator": torch.Generator().manual_seed(0), "output_type": "latent", **STEPS}
        assert torch.equal(pipe4d(observe(), **arguments).actions, joint_arm[1])
        assert XWAMPolicyPipeline.from_pipe(pipe4d).robot_processor.spec == JOINT_ARM
        pipe4d.set_robot(None)
        with pytest.raises(ValueError, match=r"set_robot\(None\)"):
            drive(policy)
        assert all(torch.equal(a, b) for a, b in zip(dream(pipe4d), future, strict=True))

    def test_a_processor_of_ones_own_may_be_used(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        pipe.set_robot(None)
        own = XWAMPolicyPipeline.from_pipe(pipe, robot_processor=copy.deepcopy(pipe.robot_processor))
        own.set_progress_bar_config(disable=True)
        assert torch.equal(act(own), act(pipe))


class TestOtherAdapters:
    def test_a_lora_that_belongs_to_no_robot_stays(self, joint_arm, base):
        pipe = make_pipeline()
        pipe.transformer.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=ATTENTION), adapter_name="style")
        randomize_(pipe.transformer, 3)
        styled = act(pipe)
        assert not torch.equal(styled, base)
        pipe.load_robot(joint_arm[0])
        assert sorted(pipe.get_active_adapters()) == ["joint_arm", "style"]
        assert not torch.equal(drive(pipe), joint_arm[1])
        pipe.set_robot(None)
        assert torch.equal(act(pipe), styled)
        pipe.set_robot("joint_arm")
        pipe.set_adapters(["style"])
        with pytest.raises(ValueError, match="name all in `set_adapters`"):
            drive(pipe)
        pipe.set_adapters(["joint_arm", "style"], [1.0, 0.0])
        torch.testing.assert_close(drive(pipe), joint_arm[1], rtol=0, atol=1e-5)
        pipe.unload_robot()
        assert list(pipe.transformer.peft_config) == ["style"]

    def test_half_a_robot_cannot_be_taken_away(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        with pytest.raises(ValueError, match="unload_robot"):
            pipe.unload_lora_weights()
        with pytest.raises(ValueError, match="unload_robot"):
            pipe.delete_adapters("joint_arm")
        assert torch.equal(drive(pipe), joint_arm[1])
        pipe.disable_lora()
        with pytest.raises(ValueError, match=r"set_robot\('joint_arm'\)"):
            drive(pipe)
        pipe.set_robot("joint_arm")
        assert torch.equal(drive(pipe), joint_arm[1])

    def test_a_robots_folder_is_no_plain_lora(self, joint_arm):
        with pytest.raises(ValueError, match="load_robot"):
            make_pipeline().load_lora_weights(joint_arm[0])

    def test_fused_layers_are_not_exchanged(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        pipe.fuse_lora()
        with pytest.raises(ValueError, match="unfuse_lora"):
            pipe.set_robot(None)
        pipe.unfuse_lora()
        pipe.set_robot(None)

    def test_fused_projections_are_not_exchanged(self, joint_arm):
        pipe = make_pipeline()
        pipe.transformer.fuse_qkv_projections()
        with pytest.raises(ValueError, match="unfuse_qkv_projections"):
            pipe.load_robot(joint_arm[0])

    def test_layers_that_are_offloaded_one_by_one(self, joint_arm):
        pipe = make_pipeline()
        pipe.transformer.enable_group_offload(
            onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
        )
        with pytest.raises(ValueError, match="then enable offloading"):
            pipe.load_robot(joint_arm[0])


class TestMerging:
    def test_merged_saved_and_loaded_it_answers_the_same(self, joint_arm, tmp_path):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        pipe.merge_robot()
        assert (pipe.robots, pipe.active_robot) == ([], None)
        merged = drive(pipe)
        torch.testing.assert_close(merged, joint_arm[1], rtol=0, atol=2e-4)
        pipe.save_pretrained(tmp_path)
        again = XWAMPolicyPipeline.from_pretrained(tmp_path)
        again.set_progress_bar_config(disable=True)
        assert again.robot_processor.spec == JOINT_ARM
        assert torch.equal(drive(again), merged)

    def test_a_merged_base_is_another_base(self, joint_arm):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        pipe.merge_robot()
        with pytest.raises(CheckpointError, match="other weights"):
            pipe.load_robot(joint_arm[0])
        pipe.load_robot(joint_arm[0], allow_other_base=True)

    def test_with_another_pipeline_beside_it(self, joint_arm):
        pipe = make_pipeline()
        other = XWAMPolicyPipeline.from_pipe(pipe)
        pipe.load_robot(joint_arm[0])
        pipe.merge_robot()
        with pytest.raises(ValueError, match=r"set_robot\(None\)"):
            act(other)
        other.set_robot(None)
        other.set_progress_bar_config(disable=True)
        assert torch.equal(drive(other), drive(pipe))

    def test_refusals(self, joint_arm):
        pipe = make_pipeline()
        with pytest.raises(ValueError, match="No robot is active"):
            pipe.merge_robot()
        pipe.load_robot(joint_arm[0], adapter_name="a")
        pipe.load_robot(joint_arm[0], adapter_name="b")
        with pytest.raises(ValueError, match=r"Unload the other adapters before merging 'b': \['a'\]"):
            pipe.merge_robot()
        assert torch.equal(drive(pipe), joint_arm[1])

    def test_weights_keep_the_dtype_of_the_base(self, joint_arm):
        pipe = make_pipeline()
        reference = {name: tensor.dtype for name, tensor in pipe.transformer.state_dict().items()}
        pipe.load_robot(joint_arm[0])
        pipe.merge_robot()
        assert {name: tensor.dtype for name, tensor in pipe.transformer.state_dict().items()} == reference


class TestSavingWithALiveAdapter:
    """diffusers would write `base_layer` and `lora_A.name` keys, which nothing loads."""

    @pytest.mark.parametrize("active", [True, False])
    def test_it_is_refused_and_says_what_to_call(self, joint_arm, tmp_path, active):
        pipe = make_pipeline()
        pipe.load_robot(joint_arm[0])
        pipe.set_robot("joint_arm" if active else None)
        for component in (pipe, pipe.transformer):
            with pytest.raises(ValueError, match=r"merge_robot\(\).*save_robot\(\)"):
                component.save_pretrained(tmp_path / "folder")
        assert not (tmp_path / "folder").exists()
        pipe.unload_robot()
        pipe.save_pretrained(tmp_path / "folder")


class TestFailuresChangeNothing:
    def test_names(self, joint_arm):
        pipe = make_pipeline()
        with pytest.raises(ValueError, match=r"letters.*'a\.b'"):
            pipe.load_robot(joint_arm[0], adapter_name="a.b")
        pipe.load_robot(joint_arm[0])
        with pytest.raises(ValueError, match="'joint_arm' is taken"):
            pipe.load_robot(joint_arm[0])
        assert torch.equal(drive(pipe), joint_arm[1])

    def test_an_image_size_that_the_strides_do_not_divide(self):
        from dataclasses import replace

        pipe = make_pipeline()
        before, config, processor = tensors_of(pipe), public(pipe.transformer.config), pipe.robot_processor
        with pytest.raises(ValueError, match="multiple of 32"):
            pipe.add_robot(replace(JOINT_ARM, image_size=(96, 120)), lora())
        assert_untouched(pipe, before, config, processor)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"targets": "nothing"}, "nothing"),
            ({"use_dora": True}, "use_dora"),
            ({"init_lora_weights": "pissa"}, "pissa"),
            ({"bias": "all"}, "bias"),
            ({"modules_to_save": ["proj_out"]}, "modules_to_save"),
        ],
    )
    def test_a_configuration_that_is_not_supported(self, fields, message):
        pipe = make_pipeline()
        before, config, processor = tensors_of(pipe), public(pipe.transformer.config), pipe.robot_processor
        with pytest.raises(ValueError, match=message):
            pipe.add_robot(JOINT_ARM, lora(**fields))
        assert_untouched(pipe, before, config, processor)

    @pytest.mark.parametrize("loaded_before", [False, True])
    def test_an_interruption_in_the_middle(self, joint_arm, monkeypatch, loaded_before):
        import diffusers.loaders.peft  # noqa: F401 - its import of peft is at call time
        import peft

        pipe = make_pipeline()
        if loaded_before:
            pipe.load_robot(joint_arm[0], adapter_name="first")
        before, config, processor = tensors_of(pipe), public(pipe.transformer.config), pipe.robot_processor

        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(peft, "set_peft_model_state_dict", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipe.load_robot(joint_arm[0], adapter_name="second")
        monkeypatch.undo()
        if loaded_before:
            assert pipe.robots == ["first"]
            assert tensors_of(pipe).keys() == before.keys()
            assert torch.equal(drive(pipe), joint_arm[1])
            pipe.unload_robot()
        else:
            assert_untouched(pipe, before, config, processor)
        pipe.load_robot(joint_arm[0], adapter_name="second")
        assert torch.equal(drive(pipe), joint_arm[1])


class TestBfloat16:
    def test_a_robot_of_a_float32_base_fits_the_same_base_in_bfloat16(self, joint_arm, tmp_path):
        pipe = make_pipeline()
        pipe.save_pretrained(tmp_path)
        half = XWAMPolicyPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
        half.set_progress_bar_config(disable=True)
        half.load_robot(joint_arm[0])
        assert {p.dtype for p in half.transformer.action_embedder.parameters()} == {torch.float32}
        difference = (drive(half) - joint_arm[1]).abs().mean() / joint_arm[1].abs().mean()
        assert float(difference) < 0.1
        half.merge_robot()
        half.save_pretrained(tmp_path / "merged")
        dtypes = {
            name: t.dtype
            for name, t in load_file(tmp_path / "merged/transformer/diffusion_pytorch_model.safetensors").items()
        }
        assert dtypes["view_embedding.weight"] == torch.bfloat16
        assert dtypes["action_proj_out.linear_1.weight"] == torch.float32


def test_the_file_holds_lora_and_networks_and_nothing_else(joint_arm):
    names = set(load_file(joint_arm[0] / WEIGHTS))
    lora_names = {name for name in names if name.startswith("transformer.") and ".lora_" in name}
    own = {name for name in names if name.startswith("embodiment.")}
    assert lora_names | own == names
    assert len(lora_names) == 2 * 10 * (4 + 2)  # halves of ten layers in four trunk and two depth blocks
    assert len(own) == 4 * 4 + 1
