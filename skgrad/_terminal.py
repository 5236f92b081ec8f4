"""What the commands share: values of options, errors of one line, progress.

Nothing here imports torch, so that ``--help`` answers at once.
"""

import argparse

from tqdm import tqdm


class OptionError(Exception):
    """An option that is well-formed but cannot be met."""


def one_line(message):
    """Return a message in one line that is not too long to read."""
    text = " ".join(str(message).split())
    return text if len(text) <= 1000 else f"{text[:1000]} ..."


class OneLineParser(argparse.ArgumentParser):
    """Reads a command line, and refuses it in one line."""

    def error(self, message):
        """Say what is wrong, without the usage."""
        name = self.prog.removeprefix("python -m ")
        self.exit(2, f"{name}: {one_line(message).rstrip('.')}. See --help.\n")


def check_device(device):
    """Refuse a device that torch cannot use here."""
    # Imported after the command line is read: --help answers at once.
    from .torch_engine.model_state import check_device

    try:
        check_device(device)
    except ValueError as error:
        raise OptionError(
            "--device must be one that torch can use here, such as cpu or cuda; got "
            f"{device!r}. {error.__cause__}"
        ) from error


def check_writable(folder, files, option="--output"):
    """Find out before the work, not after it, whether the report can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            existed = file.exists()
            with file.open("ab"):
                pass
            if not existed:
                file.unlink()
    except OSError as error:
        raise OptionError(
            f"{option} must be a folder that can be written; got {str(folder)!r}: "
            f"{error.strerror or error}. Choose another with {option} DIR."
        ) from error


def seed(text):
    """Read a seed."""
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to {2**32 - 1}, got {text!r}"
        )
    return value


def rate(text):
    """Read a share strictly between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f"must be a share strictly between 0 and 1, such as 0.05, got {text!r}"
        )
    return value


class Progress:
    """A bar that names the current step, on a terminal.

    Parameters
    ----------
    total : int
        Number of steps.
    shown : bool
        Whether to show it at all.
    """

    def __init__(self, total, *, shown):
        # disable=None hides the bar where stderr is no terminal.
        self._bar = tqdm(
            total=total,
            disable=None if shown else True,
            bar_format="{n_fmt}/{total_fmt} {desc} [{elapsed}]",
            leave=False,
        )
        self._started = 0

    def __enter__(self):
        return self._on_step

    def __exit__(self, *exception):
        self._bar.close()

    def _on_step(self, line):
        self._bar.n = self._started
        self._started += 1
        self._bar.set_description_str(line)
