"""A tokenizer of whole words and a small UMT5 that knows what the instructions of the embedded world mean.

X-WAM takes its language from a pretrained text encoder. So small a one has to be taught first: it reads sentences of a grammar of
paraphrases and tells which task they ask for and which colours they name. The phrasings that the world holds out for evaluation
are not in the grammar, though most of their words are.
"""

import random
from collections.abc import Iterator, Mapping
from itertools import product

import torch
from torch.nn import functional
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from xwam.envs.mujoco_scene import COLOURS
from xwam.envs.mujoco_tasks.registry import TASKS

WIDTH = 128  # channels of a token
NO_COLOUR = "none"
_LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"-_()/"
_SPECIAL = ("<pad>", "</s>", "<unk>")

# Parts of sentences by task; `{a}` and `{b}` are colours. One of each list is taken.
_CUBE = ("cube", "block", "brick", "die")
_TAKE = ("lift", "raise", "pick up", "grasp", "grab", "take", "get", "hoist", "hold up", "seize", "elevate")
_PUT = ("put", "place", "drop", "set", "lay", "move", "bring", "carry", "throw", "toss", "drop off", "deposit")
_PUSH = ("push", "slide", "shove", "nudge", "move by pushing", "bring without lifting", "drive")
_END = ("", "please", "now", "for me")
GRAMMAR: Mapping[str, tuple[tuple[tuple[str, ...], ...], ...]] = {
    "lift_cube": (
        (_TAKE, ("the {a}", "that {a}"), _CUBE, ("", "off the table", "from the table", "up", "into the air", "high"), _END),
    ),
    "pick_by_colour": (
        (("choose", "find", "select", "look for", "pick out"), ("the {a}",), _CUBE, ("and",), _TAKE, ("it",), _END),
        (("out of all the cubes,", "of these blocks,", "among the cubes,", "only", "just"), _TAKE, ("the {a} one", "the {a} cube"), _END),
        (_TAKE, ("the",), _CUBE, ("that is {a}", "which is {a}", "of {a} colour"), _END),
        (_TAKE, ("only the {a}", "just the {a}"), ("one", *_CUBE), ("of them", "of the cubes", "of all blocks", ""), _END),
    ),
    "place_in_bin": (
        (_PUT, ("the {a}",), _CUBE, ("in the", "into the", "to the", "inside the"), ("bin", "container", "tray", "bucket"), _END),
        (_TAKE, ("the {a}",), _CUBE, ("and put it", "and drop it", "and place it"), ("in the bin", "into the container", "inside the bin"), _END),
        (("the {a}",), _CUBE, ("goes", "should go", "has to go", "must lie", "is for"), ("in the bin", "into the bin", "to the bin"), _END),
    ),
    "push_to_region": (
        (_PUSH, ("the {a}",), _CUBE, ("onto the {b}", "to the {b}", "towards the {b}"), ("disc", "circle", "spot", "region", "area"), _END),
        (("without lifting it,", "on the table,"), _PUSH, ("the {a}",), _CUBE, ("to the {b}", "onto the {b}"), ("disc", "circle", "spot"), _END),
    ),
    "stack_cubes": (
        (("stack", *_PUT), ("the {a}",), _CUBE, ("on the {b}", "on top of the {b}", "upon the {b}"), ("one", *_CUBE), _END),
        (("build", "make"), ("a tower",), ("with {b} below and {a} on top", "of {b} and then {a}"), _END),
        (("the {b}",), _CUBE, ("must carry", "has to carry", "is to hold"), ("the {a}",), _CUBE, _END),
    ),
    "open_drawer": (
        (("open", "pull open", "draw open", "pull out", "slide open"), ("the drawer", "the cabinet's drawer", "the drawer of the cabinet"), ("", "by its knob", "by the handle", "towards you", "all the way"), _END),
        (("pull", "draw", "make"), ("the drawer",), ("open", "out"), ("", "towards you"), _END),
    ),
    "close_drawer": (
        (("close", "shut", "push shut", "push in"), ("the drawer", "the cabinet's drawer", "the drawer of the cabinet"), ("", "all the way", "again"), _END),
        (("push", "shove", "move"), ("the drawer",), ("shut", "in", "closed", "back", "until it is shut", "back into the cabinet"), _END),
        (("leave", "get", "make"), ("the drawer",), ("shut", "closed", "not open"), _END),
    ),
    "press_button": (
        (("press", "push", "hold", "press down", "push down", "touch"), ("the button", "the red button", "the switch", "the red switch"), ("", "down", "on the table", "with the gripper"), _END),
        (("use the gripper to press", "use the hand to push", "go and press"), ("the button", "the red button"), ("", "down"), _END),
    ),
    "place_in_drawer": (
        (_PUT, ("the {a}",), _CUBE, ("in the drawer", "into the drawer", "inside the drawer", "in the cabinet"), _END),
        (("open the drawer and", "open the drawer, then"), _PUT, ("the {a}",), _CUBE, ("inside", "into it", "in it"), _END),
        (("store", "keep", "save"), ("the {a}",), _CUBE, ("in the drawer", "in the cabinet's drawer", "in the cabinet"), _END),
    ),
}  # fmt: skip


def words() -> list[str]:
    """Every word of the grammar and of the world's phrasings for training, in order."""
    known = {
        word for parts in GRAMMAR.values() for way in parts for part in way for text in part for word in text.split()
    }
    known |= {word for task in TASKS.values() for text in task.instructions for word in text.split()}
    return sorted({word.strip(",:") for word in known if "{" not in word} | set(COLOURS))


def make_tokenizer() -> T5TokenizerFast:
    """Whole words where they are known, else pairs of letters: any text in ASCII has tokens."""
    pairs = [a + b for a in _LETTERS[:27] for b in _LETTERS[1:27]]
    tokens = [(token, 0.0) for token in _SPECIAL] + [(letter, -12.0) for letter in _LETTERS]
    tokens += [(pair, -14.0) for pair in pairs] + [(f"▁{word}", -2.0) for word in words() if f"▁{word}" not in pairs]
    return T5TokenizerFast(vocab=tokens, extra_ids=0)


def sentence(task: str, draw: random.Random) -> tuple[str, str, str]:
    """A way to ask for a task.

    Args:
        task (`str`): Name in the embedded world.
        draw (`random.Random`): Decides.

    Returns:
        `tuple[str, str, str]`: The sentence, and the two colours that it names or `NO_COLOUR`.
    """
    first, second = draw.sample(list(COLOURS), 2)
    text = " ".join(part for part in (draw.choice(part) for part in draw.choice(GRAMMAR[task])) if part)
    named = first if "{a}" in text else NO_COLOUR, second if "{b}" in text else NO_COLOUR
    return text.format(a=first, b=second), *named


def make_text_encoder(vocabulary: int, seed: int) -> UMT5EncoderModel:
    """New weights of UMT5's class."""
    torch.manual_seed(seed)
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary, d_model=WIDTH, d_kv=32, d_ff=256, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        )
    )  # fmt: skip


def train_text_encoder(
    encoder: UMT5EncoderModel, tokenizer: T5TokenizerFast, *, steps: int, batch_size: int = 64, seed: int = 0
) -> Iterator[tuple[int, float]]:
    """Teach the encoder to tell task and colours, from the mean over a sentence's tokens.

    Args:
        encoder (`UMT5EncoderModel`): Trained in place.
        tokenizer (`T5TokenizerFast`): Of `make_tokenizer`.
        steps (`int`): Updates.
        batch_size (`int`, *optional*, defaults to `64`): Sentences per update.
        seed (`int`, *optional*, defaults to `0`): Of sentences and new weights.

    Yields:
        `tuple[int, float]`: Number of the step, and its loss.
    """
    draw, tasks, colours = random.Random(seed), list(GRAMMAR), [NO_COLOUR, *COLOURS]
    torch.manual_seed(seed)
    head = torch.nn.Linear(WIDTH, len(tasks) + 2 * len(colours))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    encoder.train()
    for step in range(steps):
        asked = [draw.choice(tasks) for _ in range(batch_size)]
        texts, first, second = zip(*(sentence(task, draw) for task in asked), strict=True)
        answers = (
            [tasks.index(task) for task in asked],
            [colours.index(c) for c in first],
            [colours.index(c) for c in second],
        )
        told = tell(encoder, tokenizer, head, list(texts))
        parts = told.split([len(tasks), len(colours), len(colours)], dim=1)
        loss = sum(
            functional.cross_entropy(part, torch.tensor(answer)) for part, answer in zip(parts, answers, strict=True)
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield step + 1, float(loss.detach())
    encoder.eval()


def tell(
    encoder: UMT5EncoderModel, tokenizer: T5TokenizerFast, head: torch.nn.Module, texts: list[str]
) -> torch.Tensor:
    """What a head reads in the mean over the tokens of every sentence `(B, answers)`."""
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    states = encoder(**tokens).last_hidden_state
    mask = tokens.attention_mask[..., None].to(states.dtype)
    return head((states * mask).sum(dim=1) / mask.sum(dim=1))


def held_out_sentences() -> list[tuple[str, str]]:
    """The world's phrasings for evaluation, with every colour, and their tasks."""
    found = []
    for name, task in TASKS.items():
        for text in task.held_out_instructions:
            pairs = [(a, b) for a, b in product(COLOURS, COLOURS) if a != b]
            found += sorted({(text.format(colour=a, base=b, region=b), name) for a, b in pairs})
    return found
