"""The file: a zip archive of JSON and arrays, which skops can read too.

``skgrad.json`` says what the file is, ``schema.json`` and the arrays are those of
skops.
"""

import io
import json
import zipfile
import zlib
from importlib import import_module

import numpy as np

FORMAT = 1
HEADER, SCHEMA = "skgrad.json", "schema.json"
IDENTITY = {"class", "n_parameters", "fingerprint"}
# JSON is compressed: some hundred objects make a megabyte of it. Arrays are not, so
# that no small file claims much memory.
_MOST_JSON = 2**28
# Where numpy 1 says that its functions and classes are.
_NUMPY = {"numpy.core._multiarray_umath": "numpy", "numpy.ma.core": "numpy.ma"}


class DamagedError(ValueError):
    """A file that is not one of ours, or no longer."""


def pack(header, content):
    """Put a header in front of what skops wrote, and shorten that.

    Parameters
    ----------
    header : dict
        What the file is; the version of the format is added.
    content : bytes
        The archive that skops wrote.

    Returns
    -------
    bytes
        The archive.
    """
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w") as new,
    ):
        schema = _with_public_names(json.loads(old.read(SCHEMA)))
        texts = {HEADER: {"format": FORMAT, **header}, SCHEMA: schema}
        for name, value in texts.items():
            new.writestr(name, json.dumps(value), zipfile.ZIP_DEFLATED)
        for name in old.namelist():
            if name != SCHEMA:
                new.writestr(name, old.read(name))
    return buffer.getvalue()


def _with_public_names(node):
    """Name skgrad's classes and numpy's as users do: private modules may move."""
    if isinstance(node, list):
        return [_with_public_names(part) for part in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_public_names(value) for key, value in node.items()}
    module = node.get("__module__")
    if not isinstance(module, str):
        return node
    node["__module__"] = _NUMPY.get(module, module)
    if (module, node["__class__"]) == ("numpy", "bool"):  # numpy 1 has bool_
        node["__class__"] = "bool_"
    if module.startswith("skgrad."):
        room = ".".join(module.split(".")[:2])
        if node["__class__"] in getattr(import_module(room), "__all__", ()):
            node["__module__"] = room
    return node


def read_header(content):
    """Check the frame of an archive, and return what it says of itself.

    Parameters
    ----------
    content : bytes
        The file, of any origin.

    Returns
    -------
    dict
        The header.

    Raises
    ------
    DamagedError
        If the file is not one of ours, or no longer.
    """
    if content[:1] == b"\x80":
        raise DamagedError("it looks like a pickle")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive)
            header = json.loads(archive.read(HEADER))
            _check_schema(json.loads(archive.read(SCHEMA)))
    except DamagedError:
        raise
    # Not a zip archive, cut short, encrypted, or no JSON in it.
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
    ) as error:
        why = error.args[0] if isinstance(error, KeyError) else error
        raise DamagedError(str(why)) from error
    if not _is_header(header):
        raise DamagedError(f"{HEADER} in it is not what skgrad writes")
    return header


def _is_header(header):
    if not isinstance(header, dict) or type(header.get("format")) is not int:
        return False
    if header["format"] > FORMAT:  # the rest may look different
        return True
    networks = header.get("networks")
    return (
        header["format"] >= 1
        and isinstance(header.get("versions"), dict)
        and isinstance(networks, list)
        and all(map(_is_identity, networks))
    )


def _is_identity(network):
    return (
        isinstance(network, dict)
        and network.keys() == IDENTITY
        and isinstance(network["class"], str)
        and type(network["n_parameters"]) is int
        and isinstance(network["fingerprint"], str)
    )


def _check_schema(schema):
    """Refuse what skops reads without end, or takes more than the file is large.

    It writes a thing anew wherever it occurs, and reads it once, by its number. If each
    occurrence were not as long as the others, some lines could stand for a list of
    lists of lists of so many parts that no memory holds them.
    """
    lengths: dict[object, int] = {}

    def length(node):
        if isinstance(node, list):
            return 1 + sum(map(length, node))
        if not isinstance(node, dict):
            return 1
        total = 1 + sum(map(length, node.values()))
        number = node.get("__id__")
        if isinstance(number, (dict, list)):  # a value that a user has named so
            number = None
        if number is not None and lengths.setdefault(number, total) != total:
            raise DamagedError(f"a part of {SCHEMA} in it stands for another")
        return total

    length(schema)


def _check_members(archive):
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise DamagedError("it holds two parts of the same name")
    for member in archive.infolist():
        if member.filename in (HEADER, SCHEMA):
            if member.file_size > _MOST_JSON:
                raise DamagedError(f"{member.filename} in it would fill the memory")
        elif member.compress_type != zipfile.ZIP_STORED:
            raise DamagedError(f"{member.filename} in it is compressed")
        elif member.filename.endswith(".npy"):
            _check_array(archive, member)
        elif not member.filename.endswith(".bin"):  # bytes
            raise DamagedError(f"{member.filename} in it is no array")
    stored = [member.file_size for member in archive.infolist()]
    if sum(stored) > archive.fp.seek(0, io.SEEK_END) + 2 * _MOST_JSON:
        raise DamagedError("its parts overlap")
    bad = archive.testzip()
    if bad is not None:
        raise DamagedError(f"{bad} in it is not what was written")


def _check_array(archive, member):
    """Check that an array is numbers or text, and as large as it claims."""
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
        except ValueError as error:
            raise DamagedError(f"{member.filename} in it is no array") from error
        size = file.tell() + dtype.itemsize * int(np.prod(shape, dtype=object))
    if dtype.hasobject:
        raise DamagedError(f"{member.filename} in it holds Python objects")
    if size != member.file_size:
        raise DamagedError(f"{member.filename} in it has another size than it claims")
