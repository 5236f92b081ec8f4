"""The frame of the report page: its style, its script and small pieces of HTML."""

from html import escape

STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --page: #fff; --soft: #f2f4f7;
  --line: #d5d9e0; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6ea; --page: #16181c;
  --soft: #23262c; --line: #3b4048; --link: #83b9f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1rem 1.2rem 4rem;
  font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.6rem; }
a { color: var(--link); } nav a { margin-right: 1rem; }
p { max-width: 46rem; }
.scroll { width: fit-content; max-width: 100%; overflow: auto; max-height: 80vh;
  border: 1px solid var(--line); }
table { border-collapse: separate; border-spacing: 0; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
td.name, th.name { text-align: left; }
thead th { position: sticky; top: 0; background: var(--soft); z-index: 1; }
tbody th { font-weight: 600; background: var(--page); }
tbody th:first-child { position: sticky; left: 0; }
th button { all: unset; cursor: pointer; } th button:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25b4"; }
th[aria-sort=descending] button::after { content: " \\25be"; }
tbody tr:hover td { background: var(--soft); }
.interval { opacity: .75; font-size: .92em; }
figure { margin: 1rem 0; overflow-x: auto; }
figure img { max-width: max(100%, 56rem); background: #fff; padding: .4rem;
  border: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
input { font: inherit; padding: .2rem .5rem; margin-bottom: .6rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .6rem; } }
@media print { .scroll { max-height: none; overflow: visible; }
  input { display: none; } }
"""

# Sorting by a click on a heading, rows without a value last; and a filter by name.
SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") !== "descending";
    const column = head.cellIndex;
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
const input = document.querySelector("input");
input.addEventListener("input", () => {
  const words = input.value.toLowerCase().split(/\\s+/);
  for (const row of document.querySelector("#all tbody").rows) {
    const names = row.cells[0].textContent + " " + row.cells[1].textContent;
    row.hidden = !words.every(word => names.toLowerCase().includes(word));
  }
});
"""


def page(title, sections):
    """Put the page together.

    Parameters
    ----------
    title : str
        Its heading, not escaped.
    sections : list of (str, str, str)
        Anchor, heading and content of each; the content is HTML.

    Returns
    -------
    str
        A whole document.
    """
    links = "\n".join(
        f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections
    )
    parts = "\n".join(
        f'<section id="{anchor}">\n<h2>{escape(heading)}</h2>\n{content}\n</section>'
        for anchor, heading, content in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<nav>
{links}
</nav>
{parts}
<script>{SCRIPT}</script>
</body>
</html>
"""


def table(headings, rows, n_names=1):
    """Write a table whose columns can be sorted.

    Parameters
    ----------
    headings : list of str
        Headings, not escaped.
    rows : list of list of (str, str)
        HTML of each cell and the value that it is sorted by, "" for none.
    n_names : int, default=1
        So many columns hold names: the first heads its row, all align left.

    Returns
    -------
    str
        HTML.
    """
    head = "".join(
        f'<th scope="col"{_name_class(i, n_names)}>'
        f"<button>{escape(heading)}</button></th>"
        for i, heading in enumerate(headings)
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(i, cell, n_names) for i, cell in enumerate(row))}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def definitions(notes):
    """Write notes as a list of terms.

    Parameters
    ----------
    notes : dict of str to object
        Terms and what there is to say; a list or dict is written out with commas.

    Returns
    -------
    str
        HTML.
    """
    items = "\n".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(_written_out(value))}</dd>"
        for key, value in notes.items()
    )
    return f"<dl>\n{items}\n</dl>"


def name_cell(name):
    """Make a cell of a name.

    Parameters
    ----------
    name : str
        The name, not escaped.

    Returns
    -------
    tuple of str
        HTML and what it is sorted by.
    """
    return escape(name), escape(name)


def _written_out(value):
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_written_out(v)}" for key, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_written_out, value))
    return str(value)


def _cell(position, cell, n_names):
    html, value = cell
    mark = f'{_name_class(position, n_names)} data-value="{value}"'
    if position == 0:
        return f'<th scope="row"{mark}>{html}</th>'
    return f"<td{mark}>{html}</td>"


def _name_class(position, n_names):
    return ' class="name"' if position < n_names else ""
