"""What the tests tried and how it was answered: tables, printed and written.

A test of a catalogue calls the fixture `counted`; ``pytest --counts FILE`` prints how
often which case was answered how, and writes the same to a Markdown file::

    python -m pytest tests/reliability tests/test_common.py --counts counts.md
"""

from collections import Counter

KEY = "counted"
EXPECTED = "expected failure: "


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
            file.write(f"# What was tried, and how it was answered\n\n{text}\n")
        terminalreporter.write_line(f"\n{text}\n\nWritten to {self.path}.")


def outcome(report):
    """Say what became of a test whose own words do not count, else None."""
    if hasattr(report, "wasxfail"):
        return EXPECTED + report.wasxfail.removeprefix("reason: ")
    if report.failed:
        return "FAILED"
    return "skipped" if report.skipped else None


def as_markdown(kind, table):
    """Return one table: how often each case was answered how, sums and reasons."""
    answers = [answer for _, answer in table]
    reasons = sorted({answer for answer in answers if answer.startswith(EXPECTED)})
    sums, rows = Counter(), {}
    for (case, answer), n in sorted(table.items()):
        if answer in reasons:
            answer = f"{EXPECTED[:-2]} ({reasons.index(answer) + 1})"
        sums[answer] += n
        rows.setdefault(case, []).append(f"{n} {answer}")
    total = "; ".join(f"{n} {answer}" for answer, n in sums.most_common())
    lines = [
        f"## {kind}",
        "",
        f"{sums.total()} in all, {len(rows)} cases: {total}.",
        "",
    ]
    lines += [
        f"{i}. Expected failure: {reason.removeprefix(EXPECTED)}."
        for i, reason in enumerate(reasons, 1)
    ]
    lines += [""] * bool(reasons) + ["| case | answers |", "| --- | --- |"]
    lines += [f"| {case} | {'; '.join(answers)} |" for case, answers in rows.items()]
    return "\n".join(lines)
