"""Files of classifiers: they give back the same, and what was damaged or edited is refused before it is used."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

import crsdun
from crsdun.classifiers import KINDS, fit_classifier, kinds, load_classifier, save_classifier
from crsdun.classifiers.files import FORMAT, HEADER, to_bytes
from crsdun.classifiers.marks import MOST_NAMES
from crsdun.errors import InputError
from tests.classifiers.scenes import marked, painted


@pytest.fixture(scope="module")
def fitted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kinds.TREES, "n_estimators", 5)
        return {kind: fit_classifier(painted(), marked(painted()), kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_back_the_same(fitted, kind, tmp_path):
    path = tmp_path / "classes.safetensors"
    save_classifier(fitted[kind], path)
    back = load_classifier(path)
    assert replace(back, arrays={}, given=None) == replace(fitted[kind], arrays={}, given=None)
    np.testing.assert_array_equal(back.given, fitted[kind].given)
    np.testing.assert_array_equal(back.probabilities(painted(3)), fitted[kind].probabilities(painted(3)))
    with pytest.raises(InputError, match="exists already"):
        save_classifier(fitted[kind], path)
    with pytest.raises(InputError, match=r"does not end in \.safetensors"):
        save_classifier(fitted[kind], tmp_path / "classes.pkl")


def edited(classifier, tmp_path, arrays=None, without=(), **header):
    """A file of the classifier with other arrays or another header, which may lack keys."""
    content = to_bytes(classifier)
    start = int.from_bytes(content[:8], "little")
    known = json.loads(json.loads(content[8 : 8 + start])["__metadata__"][HEADER])
    known = {key: value for key, value in known.items() if key not in without}
    path = tmp_path / "edited.safetensors"
    path.write_bytes(save({**load(content), **(arrays or {})}, {HEADER: json.dumps({**known, **header})}))
    return path


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "svm"},
        {"normalisation": "log"},
        {"given": [0, 5, 9]},
        {"given": [1, 0, 2]},
        {"given": [0]},
        {"bands": 3},
        {"bands": -1},
        {"smoothing": -1},
        {"wavelengths": [1, 2]},
        {"wavelengths": [500] * 9},
        {"class_names": ["a"]},
        {"class_names": [str(number) for number in range(MOST_NAMES + 1)]},
        {"class_names": 5},
        {"provenance": []},
    ],
)
def test_an_edited_header_is_refused(fitted, tmp_path, header):
    with pytest.raises(InputError, match=r"was damaged or edited: .*; make it again with crsdun classes"):
        load_classifier(edited(fitted["lda"], tmp_path, **header))


def test_a_file_of_version_1_is_read(fitted, tmp_path):
    old = load_classifier(edited(fitted["lda"], tmp_path, format=1, floor=0.02))
    np.testing.assert_array_equal(old.probabilities(painted(3)), fitted["lda"].probabilities(painted(3)))


def test_a_newer_format_is_said_whatever_else_it_holds(fitted, tmp_path):
    with pytest.raises(InputError, match="a newer one than this; upgrade crsdun"):
        load_classifier(edited(fitted["lda"], tmp_path, without=["class_names"], format=FORMAT + 1, given="all"))


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def broken_trees(arrays):
    inner = int(np.flatnonzero(arrays["left"] >= 0)[0])
    yield {"left": changed(arrays["left"], inner, inner)}  # a circle
    yield {"left": changed(arrays["left"], inner, arrays["right"][inner])}  # two ways to one node
    yield {"right": changed(arrays["right"], inner, len(arrays["left"]))}
    yield {"feature": changed(arrays["feature"], inner, 99)}
    yield {"feature": changed(arrays["feature"], inner, -1)}
    yield {"column": changed(arrays["column"], 0, 3)}
    yield {"root": changed(arrays["root"], 1, 0)}
    yield {"value": changed(arrays["value"], 0, np.nan)}
    yield {"value": arrays["value"][:-1]}
    yield {"right": arrays["right"][:-1]}
    yield {"left": arrays["left"].astype(np.int64)}
    yield {name: array[:0] for name, array in arrays.items() if name != "bias"}


def test_trees_that_do_not_end_or_reach_outside_are_refused(fitted, tmp_path):
    for arrays in broken_trees(fitted["trees"].arrays):
        with pytest.raises(InputError, match="was damaged or edited"):
            load_classifier(edited(fitted["trees"], tmp_path, arrays))


def test_arrays_of_another_shape_or_not_finite_are_refused(fitted, tmp_path):
    weights, references = fitted["lda"].arrays["weights"], fitted["angle"].arrays["references"]
    for kind, arrays in (
        ("lda", {"weights": weights[:, :-1]}),
        ("lda", {"weights": changed(weights, (0, 0), np.inf)}),
        ("lda", {"bias": np.zeros(3, np.float32)}),
        ("angle", {"references": references[:-1]}),
        ("angle", {"spread": np.zeros(1)}),
    ):
        with pytest.raises(InputError, match="was damaged or edited"):
            load_classifier(edited(fitted[kind], tmp_path, arrays))


def test_other_files_are_told_apart(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="there is no file"):
        load_classifier(path)
    for content in (
        b"",
        b"junk",
        pickle.dumps([1]),
        to_bytes(fit_classifier(painted(), marked(painted()), "lda"))[:-9],
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no whole"):
            load_classifier(path)
    path.write_bytes(save({"a": np.zeros(2)}))
    with pytest.raises(InputError, match="holds no classifier of crsdun; choose a file that crsdun classes wrote"):
        load_classifier(path)
    crsdun.save(crsdun.create("crsdun_1stg", 4, 3, width=4), path)
    with pytest.raises(InputError, match="holds weights of a network"):
        load_classifier(path)
