"""What works with which family of networks: the tables of doc/guide/networks.md.

    python benchmarks/networks.py                    # all families
    python benchmarks/networks.py --families ViT     # those whose name contains it

Each cell is computed: gradient norms and cosines are compared with those of autograd in
float64, sample by sample; recipes are fitted, scored, saved and loaded. The networks
are small, with random weights. The libraries come with the extras `test` and
`networks`.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from families import FAMILIES
from family_cells import Row, markdown


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="", help="a part of their names")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = [name for name in FAMILIES if options.families in name]
    print(markdown({name: Row(name).cells() for name in names}))


if __name__ == "__main__":
    main()
