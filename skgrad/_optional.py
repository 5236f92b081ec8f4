"""Packages that are imported where they are first needed."""

from importlib import import_module


def import_package(name, who, extra=None):
    """Import a package, or say who needs it and how to get it.

    Parameters
    ----------
    name : str
        The package or a module in it, such as ``"foolbox.attacks"``.
    who : str
        What cannot be done without it, with the verb, such as "This attack needs".
    extra : str, default=None
        The extra of skgrad that installs it; None for what skgrad itself requires.

    Returns
    -------
    module
        The module.

    Raises
    ------
    ImportError
        If the package is not there, or if it is broken, whatever it raised itself.
    """
    package = name.partition(".")[0]
    try:
        import_module(package)  # so that an error of it names it
        return import_module(name)
    # Of packages that do not fit together, importing may raise anything: OSError for
    # a library that is not found, RuntimeError for an operator, AttributeError.
    except Exception as error:
        # Never by name: on PyPI "skgrad" is another project.
        wanted = f'".[{extra}]"' if extra else package
        where = " in the checkout of skgrad" if extra else ""
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            how = f"which is not installed: pip install {wanted}{where}"
        else:
            how = (
                f"which is installed but cannot be imported ({type(error).__name__}: "
                f"{error}). Its version may not fit the others: pip install {wanted} "
                f"--upgrade{where}"
            )
        raise ImportError(f"{who} {package}, {how}", name=name) from error
