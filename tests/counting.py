"""What the tests tried and how it was answered: tables, printed and written.

A test of a catalogue calls the fixture `counted`; ``pytest --counts FILE`` prints how
often which case was answered how, and writes the same to a Markdown file::

    python -m pytest tests/reliability tests/test_common.py --counts counts.md
"""

from collections import Counter

KEY = "counted"


class Counts:
    """Collects what the reports of tests carry, also from a run that goes wrong.

    Parameters
    ----------
    path : str
        The Markdown file to write.
    """

    def __init__(self, path):
        self.path = path
        self.tables = {}

    def pytest_runtest_logreport(self, report):
        """Count the cases of one test once it ran, or was skipped."""
        if report.when == "teardown" or (report.when == "setup" and report.passed):
            return
        for key, entry in report.user_properties:
            if key == KEY:
                kind, case, answer = entry
                table = self.tables.setdefault(kind, Counter())
                table[case, outcome(report) or answer] += 1

    def pytest_terminal_summary(self, terminalreporter):
        """Print the tables and write them."""
        text = "\n\n".join(
            as_markdown(kind, table) for kind, table in sorted(self.tables.items())
        )
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        terminalreporter.write_line(f"\n{text}\n\nWritten to {self.path}.")


def outcome(report):
    """Say what became of a test whose own words do not count, else None."""
    if hasattr(report, "wasxfail"):
        reason = report.wasxfail.removeprefix("reason: ")
        return f"expected failure: {reason}"
    if report.failed:
        return "FAILED"
    return "skipped" if report.skipped else None


def as_markdown(kind, table):
    """Return one table: each case, how it was answered, how often; and the sums."""
    answers = Counter()
    for (_, answer), n in table.items():
        answers[answer] += n
    sums = "; ".join(f"{n} {answer}" for answer, n in answers.most_common())
    rows = [
        f"| {case} | {answer} | {n} |" for (case, answer), n in sorted(table.items())
    ]
    head = ["| case | answer | tests |", "| --- | --- | --: |"]
    return "\n".join(
        [f"## {kind}", "", f"{answers.total()} in all: {sums}.", "", *head, *rows]
    )
