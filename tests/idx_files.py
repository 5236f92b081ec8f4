"""Files in the format of MNIST."""

import numpy as np


def write_idx(path, values):
    """Write bytes in the format of the MNIST files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim])
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + sizes + values.astype(np.uint8).tobytes())
