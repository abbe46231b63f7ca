"""The pages say what the code does: links lead somewhere, code runs, names exist, made pages are up to date."""

import contextlib
import importlib
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
PAGES_THAT_RUN = (
    "README.md",
    "docs/quickstart.md",
    "docs/how_to/describe_your_robot.md",
    "docs/how_to/drive_your_robot.md",
    "docs/how_to/metric_depth.md",
    "docs/how_to/calibrate_your_cameras.md",
)
MAX_NOTEBOOK_BYTES = 1_000_000

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8")))
    broken = []
    for link in found:
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.is_relative_to(ROOT) or not path.exists() or (anchor and anchor not in anchors_of(path)):
            broken.append(link)
    return broken


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def code_of(page: Path) -> str:
    return "\n".join(blocks_of(page))


def run(code: str) -> str:
    """What the code prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "page", "exec"), {"__name__": "page"})
    return printed.getvalue()


@each_page
def test_every_relative_link_leads_somewhere(page: Path):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# One two: three\n\n```\n# no heading\n```\n")
    page.write_text(
        "[a](other.md#one-two-three) [b](other.md#no-heading) [c](none.md) [d](https://e.org) [e](../x.md)"
    )
    assert broken_links(page) == ["other.md#no-heading", "none.md", "../x.md"]


@each_page
def test_nothing_is_left_to_do_on_a_page(page: Path):
    assert page == ROOT / "README.md" or "TODO" not in page.read_text(encoding="utf-8")


def test_every_page_is_reached_from_the_index():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", index)}
    pages = {*DOCS.rglob("*.md"), *NOTEBOOKS} - {DOCS / "index.md"}
    assert sorted(pages - linked) == []


@each_page
def test_every_name_of_this_library_exists(page: Path):
    for name in set(re.findall(r"`(xwam(?:\.\w+)+)", page.read_text(encoding="utf-8"))):
        parts, found = name.split("."), None
        for length in range(len(parts), 0, -1):
            with contextlib.suppress(ModuleNotFoundError):
                found = importlib.import_module(".".join(parts[:length]))
                break
        for attribute in parts[length:]:
            assert hasattr(found, attribute), name
            found = getattr(found, attribute)


def test_the_ten_lines_of_the_readme_print_what_they_say():
    code = blocks_of(ROOT / "README.md")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    said = re.findall(r"print\(.*?\)  # (.+)", code)
    printed = run(code).splitlines()
    assert len(said) == len(printed) == 2
    for claim, line in zip(said, printed, strict=True):
        assert re.fullmatch(re.escape(claim).replace(r"\.\.\.", ".*"), line), (claim, line)


def test_the_readme_saves_the_future_it_made(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Metric: decoded with the depth range" in run(code_of(ROOT / "README.md"))
    assert {path.name for path in (tmp_path / "future").iterdir()} >= {"future.json", "future.npz", "views.mp4"}


@pytest.mark.parametrize("page", PAGES_THAT_RUN[1:])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = code_of(ROOT / page)
    assert code.count("import") > 0
    assert run(code).strip()


def test_the_example_pages_are_up_to_date(build):
    assert build.stale_pages() == [], "run `make docs`"


def test_a_stale_a_missing_and_an_orphaned_page_are_found(build, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(build, "DOCS", tmp_path)
    (tmp_path / "examples").mkdir()
    expected = build.pages()
    for path, text in expected.items():
        path.write_text(text, encoding="utf-8")
    assert build.stale_pages() == []
    stale, missing, *_ = sorted(expected)
    stale.write_text("old", encoding="utf-8")
    missing.unlink()
    orphan = tmp_path / "examples" / "99_gone.md"
    orphan.write_text("", encoding="utf-8")
    assert build.stale_pages() == sorted([stale, missing, orphan])


@each_notebook
def test_a_notebook_was_run_without_errors_and_is_small(path: Path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < MAX_NOTEBOOK_BYTES
    assert not re.search(r"/(home|work|tmp|root|Users)/", path.read_text(encoding="utf-8"))


@each_notebook
def test_a_notebook_uses_public_names_only(path: Path):
    import xwam

    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    modules = re.findall(r"^\s*from (xwam[\w.]*) import|^\s*import (xwam[\w.]*)", code, flags=re.MULTILINE)
    assert modules
    assert {module for pair in modules for module in pair if module} <= {
        "xwam", "xwam.export.actions", "xwam.export.images", "xwam.export.video", "xwam.futures.depth_note",
        "xwam.geometry.depth", "xwam.robots.depth",
    }  # fmt: skip
    for names in re.findall(r"^from xwam import (?:\(([^)]*)\)|(.*))", code, flags=re.MULTILINE):
        for name in filter(None, re.split(r"[,\s]+", "".join(names))):
            assert name in xwam.__all__


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["a_4d_future", "a_4d_tour", "first_actions", "lora_on_a_new_robot"]
