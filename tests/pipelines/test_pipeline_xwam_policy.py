"""One observation, one chunk: what the policy promises."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import make_observation, make_pipeline, seeded

from xwam.errors import ObservationError
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.pipelines.prompt_cache import PromptCache


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline(XWAMPolicyPipeline)


def test_the_answer_is_a_chunk_in_the_robots_own_commands(pipe):
    observation = make_observation()
    chunk = pipe(observation, generator=seeded()).actions[0]
    spec = pipe.robot_processor.spec
    assert chunk.robot == observation.robot
    assert chunk.columns == spec.command_columns
    assert chunk.commands.shape == (pipe.robot_processor.num_actions, len(spec.command_columns))
    assert chunk.period == spec.control_period
    assert chunk.start_time == observation.time
    assert {"preprocess", "encode_frames", "encode_prompt", "denoise"} <= chunk.timings.keys()
    assert np.isfinite(chunk.commands).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(pipe):
    observation = make_observation()
    first, again, other = (pipe(observation, generator=seeded(s)).actions[0].commands for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_the_example_of_a_batch_that_is_wrong_is_named(pipe):
    good = make_observation()
    wrong = dataclasses.replace(good, instruction="")
    with pytest.raises(ObservationError, match="In example 1 of `observation`: `instruction` must say what to do"):
        pipe([good, wrong])
    with pytest.raises(ObservationError, match=r"^`instruction` must say what to do"):
        pipe([wrong])


def test_an_example_of_a_batch_is_what_it_is_alone(pipe):
    observations = [make_observation(seed) for seed in range(3)]
    batch = pipe(observations, generator=[seeded(seed) for seed in range(3)], output_type="pt").actions
    for index, observation in enumerate(observations):
        alone = pipe(observation, generator=seeded(index), output_type="pt").actions[0]
        torch.testing.assert_close(batch[index], alone, rtol=0, atol=5e-6)


def test_the_noise_is_drawn_video_then_actions_then_states(pipe):
    frame_shape = torch.Size((2, 8, 1, 3, 8, 10))
    noise = pipe._draw_noise(frame_shape, [seeded(3), seeded(4)], torch.device("cpu"))
    for index, seed in enumerate((3, 4)):
        generator = seeded(seed)
        torch.testing.assert_close(noise.video[index], torch.randn(1, 8, 3, 3, 8, 10, generator=generator)[0])
        torch.testing.assert_close(noise.actions[index], torch.randn(1, 32, 14, generator=generator)[0])
        torch.testing.assert_close(noise.states[index], torch.randn(1, 9, 16, generator=generator)[0])


def test_the_instruction_the_images_and_the_state_all_count(pipe):
    base = make_observation()
    reference = pipe(base, generator=seeded(), output_type="pt").actions
    moved = dataclasses.replace(base.arms["left"], position=base.arms["left"].position + 0.1)
    for changed in (
        dataclasses.replace(base, instruction="something else entirely"),
        dataclasses.replace(base, images={name: 255 - image for name, image in base.images.items()}),
        dataclasses.replace(base, arms={"left": moved}),
    ):
        assert (pipe(changed, generator=seeded(), output_type="pt").actions - reference).abs().max() > 1e-5


def test_guidance_of_one_is_off_and_guidance_of_two_is_the_formula(pipe):
    observation = make_observation()
    off = pipe(observation, generator=seeded(), output_type="pt").actions
    torch.testing.assert_close(
        pipe(observation, generator=seeded(), output_type="pt", guidance_scale=1.0).actions, off, rtol=0, atol=0
    )
    # With guidance 0 only the empty prompt counts: the instruction is then ignored.
    free = pipe(observation, generator=seeded(), output_type="pt", guidance_scale=0.0).actions
    embeds = pipe.encode_prompt([""])
    empty = pipe(observation, generator=seeded(), output_type="pt", prompt_embeds=embeds).actions
    torch.testing.assert_close(free, empty, rtol=0, atol=1e-5)
    doubled = pipe(observation, generator=seeded(), output_type="pt", guidance_scale=2.0).actions
    assert (doubled - off).abs().max() > 1e-5


def test_one_guided_step_is_linear_in_the_scale(pipe):
    observation, actions = make_observation(), {}
    for scale in (0.0, 1.0, 3.0):
        actions[scale] = pipe(
            observation, generator=seeded(), output_type="pt", guidance_scale=scale, num_action_steps=1, num_inference_steps=1
        ).actions  # fmt: skip
    torch.testing.assert_close(actions[3.0], actions[0.0] + 3 * (actions[1.0] - actions[0.0]), rtol=0, atol=1e-5)


def test_without_depth_blocks_the_actions_are_identical(pipe):
    lean = XWAMPolicyPipeline.from_pipe(pipe, transformer=pipe.transformer.without_depth())
    lean.set_progress_bar_config(disable=True)
    assert not hasattr(lean.transformer, "depth_blocks")
    expected, came = (each(make_observation(), generator=seeded()).actions[0].commands for each in (pipe, lean))
    np.testing.assert_array_equal(came, expected)


def test_text_is_encoded_once_per_prompt(pipe):
    pipe.clear_prompt_cache()
    calls = []
    handle = pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        pipe(make_observation(), num_action_steps=2)
    assert len(calls) == 1
    pipe(make_observation(1), num_action_steps=2)
    handle.remove()
    assert len(calls) == 2


def test_what_was_computed_within_autocast_is_not_reused_outside(pipe):
    pipe.clear_prompt_cache()
    options = {"generator": seeded(), "output_type": "pt", "num_action_steps": 2}
    expected = pipe(make_observation(), **options).actions
    pipe.clear_prompt_cache()
    with torch.autocast("cpu", torch.bfloat16):
        low = pipe(make_observation(), **{**options, "generator": seeded()}).actions
    assert not torch.equal(low, expected)
    assert torch.equal(pipe(make_observation(), **{**options, "generator": seeded()}).actions, expected)


def test_embeddings_come_to_the_device_that_is_asked_for():
    cache, cpu, other = PromptCache(), torch.device("cpu"), torch.device("meta")
    cache.embeds(["a"], "state", lambda missing: torch.zeros(len(missing), 2, 3), cpu)
    mixed = cache.embeds(["a", "b"], "state", lambda missing: torch.zeros(len(missing), 2, 3, device=other), other)
    assert mixed.shape == (2, 2, 3)
    assert mixed.device == other


def test_no_prompt_is_an_error(pipe):
    with pytest.raises(ValueError, match="`prompts` must hold at least one prompt"):
        pipe.encode_prompt([])


def test_text_keys_are_computed_once_per_prompt_and_weights(pipe):
    pipe.clear_prompt_cache()
    calls = []
    handle = pipe.transformer.blocks[0].attn2.to_k.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        pipe(make_observation(), num_action_steps=3)
    assert len(calls) == 1
    before = pipe(make_observation(), generator=seeded(), output_type="pt").actions
    weight = pipe.transformer.blocks[0].attn2.to_v.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(-2.0)
    changed = pipe(make_observation(), generator=seeded(), output_type="pt").actions
    with torch.no_grad():
        weight.copy_(kept)
    handle.remove()
    assert len(calls) == 2
    assert (changed - before).abs().max() > 1e-6


def test_embeddings_stand_in_for_the_text_encoder(pipe):
    observation = make_observation()
    embeds = pipe.encode_prompt(observation.instruction)
    deaf = XWAMPolicyPipeline.from_pipe(pipe, text_encoder=None, tokenizer=None)
    deaf.set_progress_bar_config(disable=True)
    came = deaf(observation, generator=seeded(), prompt_embeds=embeds).actions[0].commands
    np.testing.assert_array_equal(came, pipe(observation, generator=seeded()).actions[0].commands)
    with pytest.raises(ValueError, match="no text encoder and tokenizer: give `prompt_embeds`"):
        deaf(observation)
    with pytest.raises(ValueError, match="negative_prompt_embeds"):
        deaf(observation, prompt_embeds=embeds, guidance_scale=2.0)


def test_the_policy_runs_no_depth_block_and_decodes_nothing(pipe):
    def fail(*_):
        raise AssertionError("must not run")

    handles = [block.register_forward_hook(fail) for block in pipe.transformer.depth_blocks]
    handles.append(pipe.vae.decoder.register_forward_hook(fail))
    pipe(make_observation(), num_action_steps=2)
    for handle in handles:
        handle.remove()


def test_one_frame_of_each_view_is_encoded(pipe):
    seen = []
    handle = pipe.vae.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    pipe(make_observation(), num_action_steps=1)
    handle.remove()
    assert [(shape[0], shape[2]) for shape in seen] == [(3, 1)]


def test_a_callback_sees_every_step_and_may_change_the_actions(pipe):
    steps = []

    def overwrite(pipeline, step, timestep, tensors):
        steps.append((step, timestep.tolist()))
        return {"actions": torch.zeros_like(tensors["actions"])}

    actions = pipe(make_observation(), callback_on_step_end=overwrite, output_type="pt", num_action_steps=3).actions
    assert [step for step, _ in steps] == [0, 1, 2]
    assert steps[0][1] == [999, 999]
    assert actions.abs().max() == 0


def test_an_interrupted_call_hands_out_no_unfinished_actions(pipe):
    def stop(pipeline, step, timestep, tensors):
        pipeline._interrupt = True
        return {}

    with pytest.raises(RuntimeError, match="Interrupted after 1 of 10 steps"):
        pipe(make_observation(), callback_on_step_end=stop)
    assert pipe(make_observation(), num_action_steps=1).actions


def test_a_tuple_is_returned_on_demand(pipe):
    assert isinstance(pipe(make_observation(), num_action_steps=1, return_dict=False), tuple)


CALL_FAULTS = {
    "not an observation": (lambda o: {"observation": "lift"}, "`observation` must be an Observation"),
    "no observation": (lambda o: {"observation": []}, "`observation` must be an Observation"),
    "a list with another thing": (lambda o: {"observation": [o, 3]}, "(?i)observation"),
    "another robot": (lambda o: {"observation": dataclasses.replace(o, robot="droid")}, "(?i)robot"),
    "a missing view": (lambda o: {"observation": dataclasses.replace(o, images={})}, "(?i)images"),
    "an empty instruction": (lambda o: {"observation": dataclasses.replace(o, instruction="  ")}, "(?i)instruction"),
    "no action step": (lambda o: {"num_action_steps": 0}, "`num_action_steps` must be a positive integer"),
    "half an action step": (lambda o: {"num_action_steps": 2.5}, "`num_action_steps` must be a positive integer"),
    "true action steps": (lambda o: {"num_action_steps": True}, "`num_action_steps` must be a positive integer"),
    "more action than video steps": (
        lambda o: {"num_action_steps": 12, "num_inference_steps": 11},
        r"`num_action_steps` must lie in 1…11",
    ),
    "negative video steps": (lambda o: {"num_inference_steps": -1}, "`num_inference_steps` must be a positive"),
    "negative guidance": (lambda o: {"guidance_scale": -1.0}, "`guidance_scale` must be finite and not negative"),
    "guidance that is no number": (lambda o: {"guidance_scale": "2"}, "`guidance_scale` must be a number"),
    "guidance that is NaN": (lambda o: {"guidance_scale": float("nan")}, "`guidance_scale` must be finite"),
    "a seed for a generator": (lambda o: {"generator": 3}, "`generator` must be a torch.Generator"),
    "too many generators": (lambda o: {"generator": [seeded(), seeded()]}, "`generator` must have one entry"),
    "flat embeddings": (
        lambda o: {"prompt_embeds": torch.zeros(32)},
        r"`prompt_embeds` must be a float tensor of shape",
    ),
    "embeddings of another width": (
        lambda o: {"prompt_embeds": torch.zeros(1, 4, 7)},
        r"`prompt_embeds` must have shape \(1, N, 32\) with N ≥ 1, but has \(1, 4, 7\)",
    ),
    "embeddings of another batch": (
        lambda o: {"prompt_embeds": torch.zeros(2, 4, 32)},
        "`prompt_embeds` must have shape",
    ),
    "embeddings with NaN": (
        lambda o: {"prompt_embeds": torch.full((1, 4, 32), torch.nan)},
        "`prompt_embeds` must be finite",
    ),
    "negative embeddings of another width": (
        lambda o: {"negative_prompt_embeds": torch.zeros(1, 4, 7), "guidance_scale": 2.0},
        "`negative_prompt_embeds` must have shape",
    ),
    "whole numbers for embeddings": (
        lambda o: {"prompt_embeds": torch.ones(1, 4, 32, dtype=torch.int64)},
        "must be a float tensor",
    ),
    "embeddings without a token": (lambda o: {"prompt_embeds": torch.ones(1, 0, 32)}, "with N ≥ 1"),
    "negative embeddings without guidance": (
        lambda o: {"negative_prompt_embeds": torch.ones(1, 4, 32)},
        "`negative_prompt_embeds` count only with guidance",
    ),
    "an unknown adapter setting": (lambda o: {"attention_kwargs": {"skale": 3}}, "`attention_kwargs` must be None or"),
    "a word for a scale": (
        lambda o: {"attention_kwargs": {"scale": "big"}},
        r"`attention_kwargs\['scale'\]` must be a finite",
    ),
    "a callback that cannot be called": (
        lambda o: {"callback_on_step_end": 3},
        "`callback_on_step_end` must be callable",
    ),
    "an instruction that is too long": (
        lambda o: {"observation": dataclasses.replace(o, instruction="put the red cube into the bin " * 20)},
        "tokens, but the model reads 64",
    ),
    "a word as the callback's tensors": (
        lambda o: {"callback_on_step_end_tensor_inputs": "actions"},
        "`callback_on_step_end_tensor_inputs` must be a list of names, but is 'actions'",
    ),
    "an unknown callback tensor": (
        lambda o: {"callback_on_step_end_tensor_inputs": ["noise"]},
        "`callback_on_step_end_tensor_inputs` may name",
    ),
    "an unknown output type": (lambda o: {"output_type": "np"}, r"`output_type` must be one of \['chunk', 'pt'\]"),
}


@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_a_wrong_call_is_refused_before_any_model_work(pipe, fault):
    make_arguments, message = CALL_FAULTS[fault]
    arguments = {"observation": make_observation(), **make_arguments(make_observation())}
    worked = []
    models = (pipe.transformer, pipe.vae.encoder, pipe.text_encoder)
    handles = [model.register_forward_pre_hook(lambda *_: worked.append(1)) for model in models]
    with pytest.raises(ValueError, match=message):
        pipe(**arguments)
    for handle in handles:
        handle.remove()
    assert not worked


REPLACEMENTS = {
    "of another shape": (lambda t: {"actions": torch.zeros(1, 1, 14)}, "must keep the shape"),
    "of another name": (lambda t: {"video": t["actions"]}, r"may replace \['actions'\], but returned 'video'"),
    "that is no tensor": (lambda t: {"actions": 0.0}, "must keep the shape"),
    "that is no dictionary": (lambda t: t["actions"], "must return a dictionary or None"),
}


@pytest.mark.parametrize("fault", REPLACEMENTS)
def test_a_wrong_replacement_by_a_callback_is_refused(pipe, fault):
    replace, message = REPLACEMENTS[fault]
    with pytest.raises(ValueError, match=message):
        pipe(make_observation(), callback_on_step_end=lambda pipe, step, timestep, tensors: replace(tensors))


def test_each_prompt_of_a_batch_is_encoded_once(pipe):
    pipe.clear_prompt_cache()
    rows = []
    handle = pipe.text_encoder.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    for prompts in ("a", "b", ["a", "b"], ["b", "a"], ["", ""]):
        pipe.encode_prompt(prompts)
    handle.remove()
    assert rows == [1, 1, 1]
    torch.testing.assert_close(pipe.encode_prompt(["b", "a"]).flip(0), pipe.encode_prompt(["a", "b"]), rtol=0, atol=0)


def test_what_a_caller_does_to_embeddings_stays_with_the_caller(pipe):
    observation = make_observation()
    expected = pipe(observation, generator=seeded(), output_type="pt").actions
    pipe.encode_prompt(observation.instruction).mul_(0)
    torch.testing.assert_close(
        pipe(observation, generator=seeded(), output_type="pt").actions, expected, rtol=0, atol=0
    )


@pytest.mark.parametrize("inference", [False, True])
def test_a_buffer_of_embeddings_that_is_filled_anew_is_read_anew(pipe, inference):
    with torch.inference_mode(inference):
        buffer = pipe.encode_prompt("lift the red cube").clone()
        first = pipe(make_observation(), generator=seeded(), prompt_embeds=buffer, output_type="pt").actions
        buffer.copy_(pipe.encode_prompt("open the drawer"))
        second = pipe(make_observation(), generator=seeded(), prompt_embeds=buffer, output_type="pt").actions
        expected = pipe(
            make_observation(),
            generator=seeded(),
            prompt_embeds=pipe.encode_prompt("open the drawer"),
            output_type="pt",
        ).actions
    assert (first - second).abs().max() > 1e-6
    torch.testing.assert_close(second, expected, rtol=0, atol=0)


def test_moving_the_text_encoder_keeps_what_it_encoded(pipe):
    pipe.clear_prompt_cache()
    calls = []
    handle = pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        pipe(make_observation(), num_action_steps=1)
        for parameter in pipe.text_encoder.parameters():
            parameter.data = parameter.data.clone()  # what offloading does
    handle.remove()
    assert len(calls) == 1
