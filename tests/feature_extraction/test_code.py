"""What the hash of code tells apart."""

import pytest
from torch import nn

from skgrad.feature_extraction._code import code_ids, code_of


def doubled(self):
    return 2


def trebled(self):
    return 3


def scaled(self, x, by=2):
    return by * x


def scaled_more(self, x, by=3):
    return by * x


def scaled_by_name(self, x, *, by=2):
    return by * x


def scaled_more_by_name(self, x, *, by=3):
    return by * x


KINDS = {
    "method": (doubled, trebled),
    "default": (scaled, scaled_more),
    "keyword-only default": (scaled_by_name, scaled_more_by_name),
    "property": (property(doubled), property(trebled)),
    "staticmethod": (staticmethod(doubled), staticmethod(trebled)),
    "classmethod": (classmethod(doubled), classmethod(trebled)),
    "value": (2, 3),
}


def net_with(member):
    return type("Net", (nn.Module,), {"member": member})


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_class_holds_counts(kind):
    one, other = map(net_with, KINDS[kind])
    assert code_of(one()) == code_of(net_with(KINDS[kind][0])())
    assert code_of(one()) != code_of(other())
    before = code_ids(one)
    assert code_ids(one) == before
    one.member = KINDS[kind][1]
    assert code_ids(one) != before
