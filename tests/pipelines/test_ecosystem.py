"""Pipelines in the hands of diffusers' and accelerate's tools: overrides, devices, offloading, callbacks, quantization."""

import copy
import itertools
import json

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from ecosystem_samples import NUM_STEPS, act, dream, largest_difference, make_pipeline

from xwam import XWAM4DPipeline, XWAMPolicyPipeline, XWAMScheduler, XWAMTransformer3DModel
from xwam.envs.recorded import load_recorded_observation


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    make_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def actions():
    return act(make_pipeline())


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


class TestLoading:
    @pytest.mark.parametrize("loader", [XWAMPolicyPipeline, DiffusionPipeline])
    def test_a_transformer_of_ones_own(self, saved, loader):
        other = make_pipeline(seed=7).transformer
        pipe = quiet(loader.from_pretrained(saved, transformer=other))
        assert pipe.transformer is other
        assert act(pipe).isfinite().all()

    @pytest.mark.parametrize("loader", [XWAMPolicyPipeline, DiffusionPipeline])
    def test_a_scheduler_of_ones_own(self, saved, loader):
        scheduler = XWAMScheduler(num_inference_steps=4, num_action_steps=2)
        pipe = loader.from_pretrained(saved, scheduler=scheduler)
        assert pipe.scheduler is scheduler

    @pytest.mark.parametrize("loader", [XWAMPolicyPipeline, DiffusionPipeline])
    def test_optional_components_can_be_left_out(self, saved, loader, tmp_path):
        pipe = loader.from_pretrained(saved, vae=None, text_encoder=None, tokenizer=None)
        assert pipe.vae is pipe.text_encoder is pipe.tokenizer is None
        pipe.save_pretrained(tmp_path)
        index = json.loads((tmp_path / "model_index.json").read_text())
        assert index["vae"] == index["text_encoder"] == index["tokenizer"] == [None, None]
        again = XWAMPolicyPipeline.from_pretrained(tmp_path)
        assert again.vae is again.text_encoder is again.tokenizer is None

    @pytest.mark.parametrize("name", ["transformer", "vae", "robot_processor"])
    def test_a_component_of_another_kind_is_refused(self, name):
        components = make_pipeline().components
        with pytest.raises(TypeError, match=f"`{name}` must be of type"):
            XWAMPolicyPipeline(**{**components, name: components["text_encoder"]})

    def test_a_compiled_transformer_is_still_a_transformer(self, actions):
        pipe = make_pipeline()
        compiled = torch.compile(pipe.transformer, backend="eager")
        again = quiet(XWAMPolicyPipeline.from_pipe(pipe, transformer=compiled))
        torch.testing.assert_close(act(again), actions, rtol=0, atol=1e-5)

    def test_embeddings_take_the_place_of_the_text_encoder(self, saved, actions):
        pipe = quiet(XWAMPolicyPipeline.from_pretrained(saved, text_encoder=None, tokenizer=None))
        embeds = make_pipeline().encode_prompt(load_recorded_observation().instruction)
        torch.testing.assert_close(act(pipe, prompt_embeds=embeds), actions, rtol=0, atol=0)

    def test_dtypes_by_component(self, saved):
        dtype = {"transformer": torch.bfloat16, "text_encoder": torch.float16, "default": torch.float32}
        pipe = XWAMPolicyPipeline.from_pretrained(saved, dtype=dtype)
        assert pipe.transformer.blocks[0].ffn.net[2].weight.dtype == torch.bfloat16
        assert pipe.transformer.action_embedder.linear_1.weight.dtype == torch.float32
        assert pipe.text_encoder.dtype == torch.float16
        assert pipe.vae.dtype == torch.float32

    def test_one_dtype_leaves_the_vae_in_float32(self, saved, actions):
        pipe = quiet(XWAMPolicyPipeline.from_pretrained(saved, dtype=torch.bfloat16))
        assert pipe.transformer.blocks[0].attn1.to_q.weight.dtype == pipe.text_encoder.dtype == torch.bfloat16
        assert pipe.vae.dtype == torch.float32
        torch.testing.assert_close(act(pipe), actions, rtol=0, atol=0.05)

    @pytest.mark.parametrize("device_map", ["balanced", "cpu"])
    def test_device_maps(self, saved, device_map, actions):
        pipe = quiet(XWAMPolicyPipeline.from_pretrained(saved, device_map=device_map))
        assert pipe.transformer.device.type == "cpu"
        torch.testing.assert_close(act(pipe), actions, rtol=0, atol=0)

    def test_shards_and_variant(self, saved, tmp_path):
        pipe = make_pipeline().to(torch.bfloat16, silence_dtype_warnings=True)
        pipe.save_pretrained(tmp_path, variant="bf16", max_shard_size="1MB")
        names = {path.name for path in (tmp_path / "transformer").iterdir()}
        assert "diffusion_pytorch_model.safetensors.index.bf16.json" in names
        again = XWAMPolicyPipeline.from_pretrained(tmp_path, variant="bf16", dtype=torch.bfloat16)
        for (name, first), second in zip(
            pipe.transformer.state_dict().items(), again.transformer.state_dict().values(), strict=True
        ):
            assert torch.equal(first.float(), second.float()), name

    def test_a_warm_cache_needs_no_hub(self, actions, loopback_hub, tmp_path):
        make_pipeline().push_to_hub("team/offline")
        XWAMPolicyPipeline.from_pretrained("team/offline", cache_dir=tmp_path)
        loopback_hub.reset()
        pipe = XWAMPolicyPipeline.from_pretrained("team/offline", cache_dir=tmp_path, local_files_only=True)
        torch.testing.assert_close(act(quiet(pipe)), actions, rtol=0, atol=0)


class TestSharing:
    def test_from_pipe_shares_modules_and_casts_nothing(self, saved):
        policy = XWAMPolicyPipeline.from_pretrained(saved, dtype=torch.bfloat16)
        before = {name: (p.dtype, p.data_ptr()) for name, p in policy.transformer.named_parameters()}
        pipe4d = XWAM4DPipeline.from_pipe(policy)
        assert all(pipe4d.components[name] is part for name, part in policy.components.items())
        assert {name: (p.dtype, p.data_ptr()) for name, p in policy.transformer.named_parameters()} == before
        assert pipe4d.config.max_sequence_length == policy.config.max_sequence_length

    def test_both_directions_and_overrides(self):
        pipe4d = make_pipeline(XWAM4DPipeline)
        scheduler = XWAMScheduler()
        policy = XWAMPolicyPipeline.from_pipe(pipe4d, scheduler=scheduler)
        assert policy.scheduler is scheduler
        assert policy.transformer is pipe4d.transformer

    def test_without_depth_the_actions_are_identical(self, saved, actions):
        lean = quiet(XWAMPolicyPipeline.from_pretrained(saved, load_depth=False))
        assert not hasattr(lean.transformer, "depth_blocks")
        torch.testing.assert_close(act(lean), actions, rtol=0, atol=0)


class Scale(PipelineCallback):
    """Multiplies one of the latents in one step."""

    def __init__(self, name, factor, step):
        super().__init__(cutoff_step_ratio=None, cutoff_step_index=step)
        self.name, self.factor = name, factor

    @property
    def tensor_inputs(self):
        return [self.name]

    def callback_fn(self, pipeline, step_index, timesteps, callback_kwargs):
        if step_index == self.config.cutoff_step_index:
            callback_kwargs[self.name] = callback_kwargs[self.name] * self.factor
        return callback_kwargs


class TestCallbacks:
    def test_a_function_sees_every_step_and_replaces_tensors(self, actions):
        seen = []

        def callback(pipe, step, timestep, tensors):
            seen.append((step, timestep.tolist(), sorted(tensors)))
            return {"actions": tensors["actions"] * 0} if step == 3 else {}

        names = ["actions", "states", "video"]
        got = act(make_pipeline(), callback_on_step_end=callback, callback_on_step_end_tensor_inputs=names)
        assert [step for step, _, _ in seen] == [0, 1, 2, 3]
        assert all(named == names for _, _, named in seen)
        assert all(first[1] > second[1] for (_, first, _), (_, second, _) in itertools.pairwise(seen))
        assert not got.any()
        assert actions.any()

    def test_what_is_not_finite_is_refused(self):
        def callback(pipe, step, timestep, tensors):
            return {"actions": tensors["actions"] * float("nan")}

        with pytest.raises(ValueError, match="must keep 'actions' finite, but returned NaN or infinity"):
            act(make_pipeline(), callback_on_step_end=callback, callback_on_step_end_tensor_inputs=["actions"])

    def test_a_pipeline_callback_names_its_tensors(self, actions):
        got = act(make_pipeline(), callback_on_step_end=Scale("states", 0.0, 1))
        assert float((got - actions).abs().max()) > 1e-4
        got = act(make_pipeline(), callback_on_step_end=Scale("states", 1.0, 1))
        torch.testing.assert_close(got, actions, rtol=0, atol=0)

    def test_several_callbacks(self, actions):
        both = MultiPipelineCallbacks([Scale("actions", 2.0, 3), Scale("states", 1.0, 3)])
        torch.testing.assert_close(act(make_pipeline(), callback_on_step_end=both), 2 * actions, rtol=0, atol=0)

    def test_an_interrupted_policy_is_an_error_and_the_next_call_is_whole(self, actions):
        def interrupt(pipe, step, timestep, tensors):
            pipe._interrupt = step == 1
            return {}

        pipe = make_pipeline()
        with pytest.raises(RuntimeError, match="not clean"):
            act(pipe, callback_on_step_end=interrupt)
        torch.testing.assert_close(act(pipe), actions, rtol=0, atol=0)

    def test_an_interrupted_dream_ends_early_with_clean_actions(self):
        def interrupt(pipe, step, timestep, tensors):
            pipe._interrupt = step == 4
            return {}

        pipe = make_pipeline(XWAM4DPipeline)
        whole, cut = dream(pipe), dream(pipe, callback_on_step_end=interrupt)
        torch.testing.assert_close(cut[-1], whole[-1], rtol=0, atol=0)
        assert float((cut[0] - whole[0]).abs().max()) > 0

    def test_an_unknown_tensor_is_refused(self):
        with pytest.raises(ValueError, match="prompt_embeds"):
            act(
                make_pipeline(),
                callback_on_step_end=lambda *_: {},
                callback_on_step_end_tensor_inputs=["prompt_embeds"],
            )


class TestProgressBar:
    def test_it_counts_the_steps(self, capsys):
        pipe = make_pipeline()
        pipe.set_progress_bar_config(disable=False, desc="acting")
        act(pipe)
        assert "acting: 100%" in (printed := capsys.readouterr().err)
        assert "4/4" in printed

    def test_it_can_be_turned_off(self, capsys):
        act(make_pipeline())
        assert "%" not in capsys.readouterr().err


class TestCurrentTimestep:
    def test_caches_can_ask_for_it(self):
        """`PyramidAttentionBroadcastConfig(current_timestep_callback=lambda: pipe.current_timestep)` is the usual form."""
        pipe = make_pipeline()
        assert pipe.current_timestep is None
        seen = []
        pipe.transformer.register_forward_pre_hook(lambda *_: seen.append(pipe.current_timestep))
        act(pipe)
        assert len(seen) == NUM_STEPS["num_action_steps"]
        assert seen == sorted(seen, reverse=True)
        expected = XWAMScheduler()
        expected.set_timesteps(NUM_STEPS["num_inference_steps"], NUM_STEPS["num_action_steps"])
        assert seen == pytest.approx(expected.timesteps[:4, 0].tolist(), abs=1)
        assert pipe.current_timestep is None


class TestOffloading:
    @pytest.mark.parametrize("kind", [XWAMPolicyPipeline, XWAM4DPipeline])
    def test_group_offloading_of_the_whole_pipeline(self, kind):
        run = {XWAMPolicyPipeline: lambda pipe: (act(pipe),), XWAM4DPipeline: dream}[kind]
        pipe = make_pipeline(kind)
        before = run(pipe)
        pipe.enable_group_offload(
            onload_device=torch.device("cpu"), offload_type="leaf_level", exclude_modules=["vae"]
        )
        assert largest_difference(before, run(pipe)) == 0
        assert largest_difference(before, run(pipe)) == 0

    def test_the_chain_of_model_offloading(self, monkeypatch):
        """accelerate's hooks in diffusers' order, from CPU to CPU: diffusers itself asks for an accelerator."""
        from accelerate import cpu_offload_with_hook

        pipe = make_pipeline(XWAM4DPipeline)
        before = dream(pipe)
        hook = None
        for name in pipe.model_cpu_offload_seq.split("->"):
            _, hook = cpu_offload_with_hook(getattr(pipe, name), torch.device("cpu"), prev_module_hook=hook)
        assert largest_difference(before, dream(pipe)) == 0

    def test_offloading_names_every_model(self):
        pipe = make_pipeline()
        models = {name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
        assert set(pipe.model_cpu_offload_seq.split("->")) == models


class TestAccelerate:
    def test_outputs_go_through_the_autocast_wrapper(self):
        from accelerate.utils import convert_outputs_to_fp32
        from ecosystem_samples import make_inputs, make_transformer

        model = make_transformer()
        with torch.no_grad():
            output = convert_outputs_to_fp32(model.forward)(**make_inputs())
        assert type(output).__name__ == "XWAMTransformerOutput"
        assert output.depth.dtype == torch.float32

    def test_outputs_can_be_copied_and_unpacked(self):
        output = make_pipeline()(load_recorded_observation(), **NUM_STEPS, output_type="pt")
        assert copy.deepcopy(output).actions.equal(output.actions)
        assert output.to_tuple()[0] is output.actions
        assert output["actions"] is output.actions


class TestQuantization:
    @pytest.mark.parametrize("kind", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
    def test_a_quantized_pipeline_acts(self, saved, actions, kind, tmp_path):
        torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
        from diffusers import PipelineQuantizationConfig, TorchAoConfig

        config = PipelineQuantizationConfig(quant_mapping={"transformer": TorchAoConfig(getattr(torchao, kind)())})
        pipe = quiet(XWAMPolicyPipeline.from_pretrained(saved, quantization_config=config))
        first = act(pipe)
        assert 0 < float((first - actions).abs().max()) < 0.2
        torch.testing.assert_close(act(pipe), first, rtol=0, atol=0)
        pipe.save_pretrained(tmp_path)
        again = quiet(XWAMPolicyPipeline.from_pretrained(tmp_path))
        assert type(again.transformer.blocks[0].attn2.to_k.weight.data) is not torch.Tensor
        torch.testing.assert_close(act(again), first, rtol=0, atol=0)


class TestModularPipelines:
    def test_blocks_from_an_ordinary_folder(self, saved, tmp_path):
        from diffusers import ModularPipelineBlocks
        from diffusers.modular_pipelines import ComponentSpec, InputParam, OutputParam

        class ActBlock(ModularPipelineBlocks):
            """A policy step written as a block."""

            model_name = "xwam"

            @property
            def expected_components(self):
                return [
                    ComponentSpec("transformer", XWAMTransformer3DModel),
                    ComponentSpec("scheduler", XWAMScheduler),
                ]

            @property
            def inputs(self):
                return [InputParam("num_action_steps")]

            @property
            def intermediate_outputs(self):
                return [OutputParam("action_dim")]

            @torch.no_grad()
            def __call__(self, components, state):
                block_state = self.get_block_state(state)
                components.scheduler.set_timesteps(6, block_state.num_action_steps)
                block_state.action_dim = components.transformer.config.action_dim
                self.set_block_state(state, block_state)
                return components, state

        pipe = ActBlock().init_pipeline(str(saved))
        pipe.load_components()
        assert type(pipe.transformer) is XWAMTransformer3DModel
        assert type(pipe.scheduler) is XWAMScheduler
        assert pipe(num_action_steps=3, output="action_dim") == 14
        assert pipe.scheduler.num_action_steps == 3
        pipe.save_pretrained(str(tmp_path))
        assert json.loads((tmp_path / "modular_model_index.json").read_text())["transformer"][:2] == [
            "xwam",
            "XWAMTransformer3DModel",
        ]


class TestCompiledBlocks:
    def test_one_compilation_serves_every_kind_of_call(self):
        """Two pipelines, guidance, three batch sizes: PyTorch gives up on a function after eight forms of it."""
        pipe = make_pipeline(XWAM4DPipeline)
        policy = quiet(XWAMPolicyPipeline.from_pipe(pipe))
        observation = load_recorded_observation()

        def run():
            batches = [[observation] * size for size in (1, 2, 3)]
            generators = [[torch.Generator().manual_seed(i) for i in range(len(batch))] for batch in batches]
            futures = [
                pipe(batch, generator=own, output_type="latent", num_inference_steps=2, num_action_steps=1)
                for batch, own in zip(batches, generators, strict=True)
            ]
            return (act(policy), act(policy, guidance_scale=2.0), *dream(pipe), *(f.depth_images for f in futures))

        before = run()
        torch.compiler.reset()
        pipe.transformer.compile_repeated_blocks(fullgraph=True, backend="eager")
        for _ in range(2):
            assert largest_difference(before, run()) < 1e-4
