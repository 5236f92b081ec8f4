"""Formulas as MathML, which browsers draw without a script and without the network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)

# docutils takes the digits of \frac12 for one number, and puts the index of an accented
# letter below it.
HALVES = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")
ACCENTS = r"bar|dot|hat|tilde|vec|widehat|widetilde"
ACCENTED = re.compile(rf"(\\(?:{ACCENTS})\b\s*(?:\w|{{[^{{}}]*}}))\s*(?=[_^])")
# TeX has a thin space between log and x, but none between log and (x).
APPLIED = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*(?:<mrow>\s*)?<mo[^>]*>\s*[(\[])")
# Browsers stretch the bars of a norm, and those with an exponent otherwise.
BARS = re.compile(r"<mo(?![^>]*stretchy)([^>]*)>(?=[‖|]</mo>)")


def draw(formula, *, as_block=False):
    """Return a formula of TeX as MathML; raise MathError for unknown commands."""
    formula = HALVES.sub(r"\1{\2}{\3}", formula)
    formula = ACCENTED.sub(r"\1{}", formula)
    drawn = tex2mathml(formula, as_block=as_block)
    drawn = APPLIED.sub('<mspace width="0.17em"></mspace>', drawn)
    return BARS.sub(r'<mo\1 stretchy="false">', drawn)


def _mathml(translator, node, *, as_block):
    formula = node.astext()
    try:
        return draw(formula, as_block=as_block)
    except MathError as error:
        LOGGER.warning("cannot draw %r: %s", formula, error, location=node)
        return f"<code>{translator.encode(formula)}</code>"


def _visit_inline(translator, node):
    translator.body.append(_mathml(translator, node, as_block=False))
    raise nodes.SkipNode


def _visit_block(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="formula"))
    translator.body.append(_mathml(translator, node, as_block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer, which ``html_math_renderer`` names."""
    renderers = (_visit_inline, None), (_visit_block, None)
    app.add_html_math_renderer("mathml", *renderers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
