"""How the documentation is built: ``python -m sphinx -W doc doc/_build/html``."""

import ast
import importlib
import inspect
import os
import re
import sys
import warnings
from itertools import pairwise
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import skgrad

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_order and mathml

project = "skgrad"
author = "The skgrad developers"
copyright = "The skgrad developers"
version = release = skgrad.__version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "auto_examples/**/*.ipynb",
    "auto_examples/**/*.py",
    "**sg_execution_times.rst",  # takes its scripts from the network
]
default_role = "py:obj"
smartquotes_action = "q"  # quotes; --option keeps its dashes

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

numpydoc_show_class_members = False
# The inventories hold the names that our pages use: the build needs no network.
_SITES = {
    "joblib": "https://joblib.readthedocs.io/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "python": "https://docs.python.org/3/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
intersphinx_mapping = {
    name: (site, f"inventories/{name}.inv") for name, site in _SITES.items()
}

# Of the words in types, link classes, and not the words of Python itself.
DEFAULT_LINKS.clear()
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    name: f"skgrad.{room}.{name}"
    for room in skgrad._ROOMS
    for name in getattr(skgrad, room).__all__
    if isinstance(getattr(getattr(skgrad, room), name), type)
} | {
    # As docstrings name them, by the last part or in full. numpydoc takes no alias for
    # the name itself, hence the dot, which Sphinx takes off.
    word: f".{name}"
    for name in (
        "joblib.Memory",
        "matplotlib.axes.Axes",
        "numpy.ndarray",
        "numpy.random.RandomState",
        "pandas.DataFrame",
        "pathlib.Path",
        "sklearn.pipeline.Pipeline",
        "sklearn.utils.Bunch",
        "torch.Tensor",
        "torch.device",
        "torch.nn.Module",
        "torch.utils.data.DataLoader",
        "torch.utils.data.Dataset",
    )
    for word in (name, name.rpartition(".")[2])
}
autosummary_generate = True
autodoc_typehints = "none"

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skgrad"
html_static_path = ["_static"]
html_css_files = ["skgrad.css"]
html_show_sourcelink = False
html_sidebars = {"getting_started": []}  # has no pages below it
html_theme_options = {
    "logo": {"text": "skgrad"},
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # The scripts beside the gallery take data sets and hours: see scripts.md.
    "filename_pattern": r"/plot_",
    # The pattern sees file names, in some versions whole paths.
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "within_subsection_order": "gallery_order.position",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    # What a cell prints, and tables; not the address of its last object.
    "capture_repr": ("_repr_html_",),
    "min_reported_time": 0,
    "remove_config_comments": True,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("skgrad",),
    "reference_url": {"skgrad": None},
    "default_thumb_file": None,
    "parallel": 2,
}
# What an example warns of, its reader sees; nothing else may warn.
warnings.filterwarnings("error", module="skgrad")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A page outside this folder, as the pages see it.
_ELSEWHERE = {"../../benchmarks/RESULTS.md": "../benchmarks.md"}
# The pages of results are listed here, so that their README stays plain Markdown.
_RESULTS = """

```{toctree}
:hidden:

Scripts and benchmarks <../scripts>
All detectors: MNIST <mnist/all_detectors>
All detectors: CIFAR-10 (JPEG) <cifar/all_detectors>
All detectors: ResNet-56 <cifar/all_detectors_resnet56>
All detectors: ResNet-18 <cifar/all_detectors_resnet18>
All detectors: ImageNet <imagenet/all_detectors>
All detectors: text <text/all_detectors>
All detectors: sound <speech/all_detectors>
All detectors: rows <rows/all_detectors>
Paper A: MNIST <mnist/paper_a>
Paper A: CIFAR-10 (JPEG) <cifar/paper_a>
Paper B: MNIST and ECG5000 <mnist/paper_b>
Paper B: CIFAR-10 (JPEG) <cifar/paper_b>
Paper B: the landscape <mnist/paper_b_landscape>
Paper B: its reproduction <geometric_gradients_reproduction>
Paper C: MNIST <mnist/paper_c>
Paper C: CIFAR-10 (JPEG) <cifar/paper_c>
```
"""


# Scripts write the same title for each of these folders.
_DATA = {
    "results/cifar/": "CIFAR-10 (JPEG)",
    "results/mnist/": "MNIST",
    "results/imagenet/": "ImageNet",
    "results/text/": "CLINC150",
    "results/speech/": "spoken digits",
    "results/rows/": "rows",
}


def _table_of_tests():
    """Return a table of the tests behind the page on what skgrad withstands."""
    tests = Path(__file__).parents[1] / "tests"
    rows = ["| file in `tests/` | what it tests | functions |", "|---|---|--:|"]
    for pattern in ("test_common.py", "reliability/test_*.py", "persistence/test_*.py"):
        for file in sorted(tests.glob(pattern)):
            tree = ast.parse(file.read_text())
            told = " ".join(ast.get_docstring(tree).partition("\n\n")[0].split())
            n_tests = sum(
                isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
                for node in ast.walk(tree)
            )
            place = file.relative_to(tests).as_posix()
            rows.append(f"| `{place}` | {told} | {n_tests} |")
    return "\n".join(rows)


def _adapt_page(app, name, source):
    """Let pages that are right in the repository be right in the site."""
    for folder, data in _DATA.items():
        if name.startswith(folder):
            source[0] = re.sub(r"\A(# .+)", rf"\1 on {data}", source[0])
    if name == "results/README":
        source[0] += _RESULTS
    if name == "reliability":
        source[0] = source[0].replace("<!-- table of tests -->", _table_of_tests())
    for there, here in _ELSEWHERE.items():
        source[0] = source[0].replace(f"]({there})", f"]({here})")


def _escape(match):
    return match[1] or f"\\{match[0]}"


def _adapt_docstring(app, what, name, obj, options, lines):
    """Escape shapes, and take out what only another site can resolve."""
    # To reStructuredText, *input_shape begins italics and n_features_in_ is a link.
    # What stands between backticks is taken as it is.
    text = "\n".join(
        re.sub(r"(`[^`]+`)|(?<=, )(\*)(?=\w)|(?<=\w)(_)(?=,\))", _escape, line)
        for line in lines
    )
    # TNR@95TPR is no address of a person.
    text = re.sub(r"(?<=\w)@(?=\w)", r"\@", text)
    if not str(getattr(obj, "__module__", "")).startswith("skgrad"):
        text = _adapt_foreign(text)
    lines[:] = text.splitlines()


def _adapt_foreign(text):
    """Take out of scikit-learn's words its versions, and links into its own guide."""
    text = re.sub(r"(?m)^ *\.\. version(?:added|changed)::.*\n(?: +.*\n)*", "", text)
    text = re.sub(r"(?s)Refer to the :ref:`[^`]*` for more details.*?API\.\n", "", text)
    return re.sub(r":(?:ref|term):`([^`<]*?)\s*(?:<[^`]*>)?`", r"\1", text)


def _describe_constant(app, what, name, obj, options, lines):
    """Describe a constant by the string behind it where it is defined."""
    if what != "data":
        return
    room, _, constant = name.rpartition(".")
    for file in Path(importlib.import_module(room).__file__).parent.rglob("*.py"):
        body = ast.parse(file.read_text()).body
        for assignment, told in pairwise(body):
            targets = getattr(assignment, "targets", [])
            if [getattr(target, "id", "") for target in targets] == [constant]:
                lines[:] = inspect.cleandoc(told.value.value).splitlines()
    if isinstance(obj, dict):
        lines += ["", ".. list-table::", "   :widths: auto", ""]
        for key, value in obj.items():
            told = str(getattr(value, "description", value))
            lines += [f"   * - ``{key}``", f"     - {told}"]


def _resolve_short_names(app, env, node, contnode):
    """Find ``skgrad.LODA`` where ``skgrad.detectors.LODA`` is documented, and back."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    longest = target.removeprefix("skgrad.")
    domain = env.get_domain("py")
    rooms = ("", *(f"{room}." for room in skgrad._ROOMS))
    for name in (longest, longest.rpartition(".")[2]):
        for room in rooms:
            full = f"skgrad.{room}{name}"
            if full not in domain.objects or full == target:
                continue
            node["reftarget"] = full
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", full, node, contnode
            )
    return None


def _skip_field(app, what, name, obj, skip, options):
    """Leave a field of a named tuple to the parameters of its class."""
    # Python's own text of it is "Alias for field number 0".
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connect the above."""
    app.connect("source-read", _adapt_page)
    # After numpydoc.
    app.connect("autodoc-process-docstring", _describe_constant, priority=600)
    app.connect("autodoc-process-docstring", _adapt_docstring, priority=700)
    app.connect("autodoc-skip-member", _skip_field)
    app.connect("missing-reference", _resolve_short_names)
