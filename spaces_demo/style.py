"""Colours, letters and spacing. No font and no picture comes from elsewhere: the page works without a network."""

import itertools
from collections.abc import Sequence

import gradio as gr

LETTERS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
DIGITS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
NIGHT = (0.055, 0.075, 0.11, 1.0)  # behind point clouds, RGBA from 0 to 1
LINES = ("#0d9488", "#ea580c", "#6366f1", "#db2777", "#65a30d", "#0284c7", "#ca8a04")  # of plots, in order
PALE = ("#7dd3c8", "#fbb98a", "#b4b5f9", "#f0a3c6", "#b9dc84", "#8fd0f0", "#ecc75f")  # of what is held against them

CSS = """
.gradio-container > .main { max-width: 1360px; margin: 0 auto; width: 100%; }
#head { padding: 12px 2px 2px; }
#head h1 { font-size: 1.75rem; font-weight: 700; letter-spacing: -0.025em; margin: 0; }
#head p { margin: 3px 0 0; color: var(--body-text-color-subdued); }
#head .note { border-left: 3px solid #d97706; background: color-mix(in srgb, #d97706 9%, transparent);
              padding: 7px 12px; border-radius: 6px; font-size: 0.9rem; margin-top: 10px; color: var(--body-text-color); }
.step { display: flex; flex-wrap: wrap; align-items: baseline; column-gap: 10px; margin: 18px 2px 0; }
.step b { font-size: 1.1rem; font-weight: 650; letter-spacing: -0.01em; }
.step span, .waiting, .caption p { color: var(--body-text-color-subdued); font-size: 0.88rem; }
.caption p { margin: 0 2px; }
#page .html-container { padding: 0 !important; }
#status { min-height: 52px; }
#status .chips { display: flex; flex-wrap: wrap; gap: 8px; }
#status .chip { padding: 4px 12px; border-radius: 999px; font-size: 0.92rem; font-variant-numeric: tabular-nums;
                background: var(--block-background-fill); border: 1px solid var(--border-color-primary); }
#status .chip b { color: var(--primary-600); font-weight: 650; }
.dark #status .chip b { color: var(--primary-400); }
#status .waiting { margin: 6px 2px 0; font-variant-numeric: tabular-nums; }
#views button:has(img), #views .image-frame, #views img { width: 100%; height: auto; object-fit: contain; }
.drop .or, .drop .icon-wrap { display: none; }
.drop .wrap { font-size: 0.88rem; line-height: 1.5; min-height: 0; padding-top: 22px; }
@media (min-width: 900px) { #question { position: sticky; top: 12px; } }
.bottom { align-items: flex-end; }
.bottom button { margin-bottom: 1px; }
.film video { background: #0e131c; width: 100%; height: auto; }
.film label, #views label, #cloud label { opacity: 0.92; }
@media (max-width: 640px) { #head h1 { font-size: 1.4rem; } .gradio-container > .main { padding: 10px !important; } }
"""


def colours(lines: Sequence[str], against: Sequence[str]) -> dict[str, str]:
    """A colour for every line of a plot.

    Args:
        lines (`Sequence[str]`): Names of lines.
        against (`Sequence[str]`): Names of what is held against them: the same colours, pale.
    """
    strong, pale = zip(lines, itertools.cycle(LINES)), zip(against, itertools.cycle(PALE))
    return dict([*strong, *pale])


def theme() -> gr.themes.Base:
    """Quiet surfaces, one accent."""
    return gr.themes.Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=LETTERS, font_mono=DIGITS
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        block_border_width="1px",
        block_shadow="0 1px 2px rgb(15 23 42 / 0.05)",
    )
