"""The documentation: every public name is on a page, and every block of code runs."""

import functools
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import skgrad
from skgrad import evaluation
from skgrad.__main__ import main
from skgrad.datasets import load_digits_images
from skgrad.evaluation import train_digits_network

DOC = Path(__file__).parents[1] / "doc"
PAGES = {
    page.relative_to(DOC).with_suffix("").as_posix(): page
    for page in sorted(DOC.rglob("*.md"))
    if "```python" in page.read_text() and "_build" not in page.parts
}
SLOW = {"getting_started"} | {
    f"guide/{name}"
    for name in (
        "anomalies",
        "export",
        "judging",
        "large_data",
        "pictures",
        "searching",
        "text",
    )
}


@functools.cache
def trained_network(random_state):
    digits = load_digits_images()
    return train_digits_network(
        digits.X_train, digits.y_train, random_state=random_state
    )


def public_names():
    return {
        f"{room}.{name}"
        for room in skgrad._ROOMS
        for name in getattr(skgrad, room).__all__
    }


def names_on_pages():
    """Return the public names in the tables of the API pages."""
    found = []
    for page in sorted((DOC / "api").glob("*.rst")):
        found += [
            f"{page.stem}.{name}"
            for name in re.findall(r"^   (\w+)$", page.read_text(), re.M)
            if page.stem != "index"
        ]
    return found


def test_every_public_name_is_on_an_api_page():
    found = names_on_pages()
    assert set(found) == public_names()
    assert len(found) == len(set(found))


def test_every_room_has_an_api_page():
    listed = re.findall(r"^   (\w+)$", (DOC / "api" / "index.rst").read_text(), re.M)
    assert sorted(listed) == sorted(skgrad._ROOMS)
    # What is importable from skgrad itself is at home in a room.
    for name in skgrad._HOMES:
        assert f"{skgrad._HOMES[name]}.{name}" in public_names()


SPREAD = re.compile(r"(\d+(?:\.(\d+))?) ± (\d+(?:\.(\d+))?)")


def test_figures_of_the_guide_are_on_pages_of_results():
    """Means with their spread come from runs that can be repeated."""
    # The README of the results sums the other pages up.
    pages = {*(DOC / "results").rglob("*.md")} - {DOC / "results" / "README.md"}
    found = "\n".join(page.read_text() for page in pages)
    known = {(float(mean), float(off)) for mean, _, off, _ in SPREAD.findall(found)}

    @functools.cache
    def rounded(*digits):
        return {tuple(map(round, pair, digits)) for pair in known}

    summaries = [*(DOC / "guide").glob("*.md"), DOC / "results" / "README.md"]
    n_figures = 0
    for page in [*summaries, DOC.parent / "README.md"]:
        for mean, digits, off, off_digits in SPREAD.findall(page.read_text()):
            n_figures += 1
            pair = float(mean), float(off)
            assert pair in rounded(len(digits), len(off_digits)), (page.name, pair)
    assert n_figures > 30


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in PAGES],
)
def test_code_of_a_page_runs(name, monkeypatch, tmp_path, capsys):
    """Run the blocks of a page one after the other, as a reader would."""
    page = PAGES[name]
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)

    def train_once(X, y, *, random_state=0):
        """Train the small network that most pages begin with once for all of them."""
        usual = np.array_equal(X, load_digits_images().X_train)
        if usual:
            return trained_network(random_state)
        return train_digits_network(X, y, random_state=random_state)

    monkeypatch.setattr(evaluation, "train_digits_network", train_once)
    names: dict = {"__name__": page.stem}
    blocks = re.findall(
        r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", page.read_text(), re.S
    )
    for number, (block, shown) in enumerate(blocks, start=1):
        where = f"{page.name}, block {number}"
        try:
            exec(compile(block, where, "exec"), names)
        finally:
            plt.close("all")
        printed = capsys.readouterr().out
        if shown:
            check_output(printed, shown, where)


# Here they are equal; with the oldest versions they differ by up to 0.08.
RTOL, ATOL = 0.1, 0.25
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def check_output(printed, shown, where):
    """Compare words exactly, and numbers as other processors may change them."""
    words = [NUMBER.sub("#", text).split() for text in (printed, shown)]
    assert words[0] == words[1], f"{where} prints:\n{printed}"
    numbers = [np.array(NUMBER.findall(t), dtype=float) for t in (printed, shown)]
    np.testing.assert_allclose(*numbers, rtol=RTOL, atol=ATOL, err_msg=where)


@pytest.mark.parametrize(
    ("formula", "drawn"),
    [
        (r"\tfrac12 x", "<mn>1</mn><mn>2</mn></mfrac><mi>x</mi>"),
        (r"\hat p_k", "</mover><msub><mrow></mrow><mi>k</mi></msub>"),
        (r"\log p", "<mi>log</mi><mspace"),
        (r"\exp(x)", "<mi>exp</mi><mo>&ApplyFunction;</mo><mo"),
        (r"\lVert x \rVert^2", '<msup><mo stretchy="false">‖</mo>'),
    ],
)
def test_formulas_are_drawn_as_tex_reads_them(formula, drawn):
    pytest.importorskip("docutils", minversion="0.21")
    draw = runpy.run_path(str(DOC / "mathml.py"))["draw"]
    # Without the line breaks and indentation.
    assert drawn in re.sub(r">\s+<", "><", draw(formula))


def commands():
    """Yield the commands of all pages, with the page of each."""
    for page in [*DOC.rglob("*.md"), DOC.parent / "README.md"]:
        if "_build" in page.parts:
            continue
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                for command in line.split(" && "):
                    yield page.name, command.strip()


def run(words, monkeypatch):
    """Run a module or a script of this project as Python's command line does."""
    if words[:2] == ["-m", "skgrad"]:
        main()
    else:
        script = DOC.parent / words[0]
        monkeypatch.syspath_prepend(str(script.parent))
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize(
    "command", sorted({command for _, command in commands()}), ids=lambda c: c[:60]
)
def test_commands_have_the_options_of_the_pages(command, monkeypatch, capsys):
    """Compare with the help of each program; CI runs the README's lines."""
    python, *words = shlex.split(command)
    assert python == "python"
    if words[:3] == ["-m", "pip", "install"]:
        settings = tomllib.loads((DOC.parent / "pyproject.toml").read_text())
        extras = re.fullmatch(r"\.\[([a-z,]+)\]", words[-1])[1].split(",")
        assert set(extras) <= set(settings["project"]["optional-dependencies"])
        assert set(words[3:-1]) <= {"--editable"}
        return
    if words[0] == "-m" and words[1] != "skgrad":
        assert words[1] in {"pytest", "sphinx", "uvicorn"}
        return
    options = [word for word in words if word.startswith("--")]
    evaluate = words[1:3] == ["skgrad", "evaluate"]
    asked = [*(["evaluate"] if evaluate else []), "--help"]
    monkeypatch.setattr(sys, "argv", [words[0], *asked])
    with pytest.raises(SystemExit) as end:
        run(words, monkeypatch)
    assert not end.value.code
    help_text = capsys.readouterr().out
    assert [option for option in options if option not in help_text] == []
