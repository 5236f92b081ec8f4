"""Column names live as long as the columns are the same, and no longer."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skgrad.feature_extraction import FeatureArray
from skgrad.feature_extraction._feature_array import in_container_of

X = FeatureArray(np.arange(6.0).reshape(3, 2), ["a", "b"])


def test_what_is_computed_from_it_has_no_names():
    columns, lists = np.array([1, 0]), (np.array([0, 1]), np.array([1, 0]))
    rows_and_columns = [X[:, ::-1], X[:, :1], X[:, columns], X[lists], X[:, 0], X[0]]
    for derived in [*rows_and_columns, X * 2, X.T, np.vstack([X, X]), X.sum(0)]:
        assert getattr(derived, "feature_names", None) is None


def test_selected_rows_and_copies_keep_the_names():
    rows = [X[:2], X[[2, 0]], X[np.array([True, False, True])], X[1:, :]]
    copies = [X[np.array([1]), ...], X.copy(), copy.copy(X), copy.deepcopy(X)]
    for derived in rows + copies:
        assert derived.feature_names.tolist() == ["a", "b"]
        assert derived.shape[1] == 2


def test_results_are_plain_numbers_and_arrays():
    assert type(X * 2) is np.ndarray
    assert {X.max(): 1} == {5.0: 1}
    assert isinstance(X.mean(), float)


def test_joining_side_by_side_joins_the_names():
    for join in (np.hstack, lambda parts: np.concatenate(parts, axis=1)):
        assert join([X, X]).feature_names.tolist() == ["a", "b", "a", "b"]
        assert getattr(join([X, np.ones((3, 1))]), "feature_names", None) is None


def test_pickling_and_caching_keep_the_names(tmp_path):
    joblib.dump(X, tmp_path / "x.joblib")
    cached = joblib.load(tmp_path / "x.joblib")
    for twin in (pickle.loads(pickle.dumps(X)), cached):
        assert twin.feature_names.tolist() == ["a", "b"]
        assert_array_equal(twin, X)
    nameless = pickle.loads(pickle.dumps(X.T))
    assert_array_equal(nameless, np.asarray(X).T)


@pytest.mark.parametrize(
    ("values", "names"), [(np.ones((2, 2)), ["a"]), (np.ones(2), ["a", "b"])]
)
def test_names_must_fit(values, names):
    with pytest.raises(ValueError, match="feature_names must hold one name per column"):
        FeatureArray(values, names)


class OtherFrame(dict):
    """A data frame without pandas' iloc, made of a dict of columns as polars does."""

    columns = property(list)


def test_values_come_back_in_the_container_of_a_template():
    values = np.array([[1.5, 2.0]])
    assert in_container_of(X, values).feature_names.tolist() == ["a", "b"]
    for frame_type in (pd.DataFrame, OtherFrame):
        template = frame_type({"a": [1, 2], "b": [3, 4]})
        frame = in_container_of(template, values)
        assert isinstance(frame, frame_type)
        assert list(frame.columns) == ["a", "b"]
        assert_array_equal([frame["a"][0], frame["b"][0]], values[0])
    for template in (None, np.ones((3, 2))):
        assert in_container_of(template, values) is values


def test_objects_take_the_dtypes_of_the_data_frame():
    template = pd.DataFrame({"a": [1], "b": pd.Series(["x"], dtype="category")})
    frame = in_container_of(template, np.array([[2, "x"]], dtype=object))
    assert frame.dtypes.tolist() == template.dtypes.tolist()
