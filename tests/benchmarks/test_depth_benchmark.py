"""The tables of the page on metric depth are those that the script makes."""

from pathlib import Path

import depth

PAGE = Path(__file__).resolve().parents[2] / "docs/how_to/metric_depth.md"


def test_the_bounds_on_the_page_are_the_computed_ones():
    page = PAGE.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")] for row in depth.bounds_table()[2:]]
    assert len(rows) == 8
    for camera, encoding, bits, unknown, errors in (row[1:-1] for row in rows):
        told = errors if encoding == "inverse" else f"{errors.split(': ')[-1]} everywhere"
        row = f"| {camera.replace(' cameras', '').replace(' camera', '')} | {encoding} | {bits} | {unknown} | {told} |"
        assert row in page


def test_rounding_reaches_the_bound_and_not_more():
    for row in depth.round_trips()[2:]:
        share, mean = (float(cell) for cell in row.split("|")[2:4])
        assert 0.99 < share < 1.000001
        assert abs(mean) < 0.0012


def test_every_kind_of_outlier_is_measured(monkeypatch):
    monkeypatch.setattr(depth, "SEEDS", 1)
    assert [row.split("|")[1].strip() for row in depth.recovery_table()[2:]] == list(depth.OUTLIERS)
