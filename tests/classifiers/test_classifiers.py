"""Classifiers: what they give, how they are chosen, and that they are what scikit-learn fitted."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf as theirs
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from crsdun.budget import limited_to
from crsdun.classifiers import KINDS, Marks, fit_classifier, fitting, kinds, trees
from crsdun.classifiers.fitting import Examples, cross_validate, folds
from crsdun.classifiers.normalisation import floor_of, standard_normal_variate
from crsdun.classifiers.smoothing import smoothed
from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED
from tests.classifiers.scenes import BANDS, NAMES, NM, SIDE, marked, painted


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setitem(kinds.TREES, "n_estimators", 12)


@pytest.fixture(scope="module")
def drawn():
    """Spectra of four classes that overlap, with their places among them, and others to ask about."""
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(4), 15)
    means = rng.standard_normal((4, BANDS))
    return means[places] + 0.8 * rng.standard_normal((60, BANDS)), places, 2 * rng.standard_normal((200, BANDS))


# -- whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_kind_finds_the_stripes_in_another_scene(kind, classes):
    scene, other = painted(0), painted(1)
    marks = marked(scene)
    if classes == 2:
        marks = Marks(np.where(marks.labels == 0, UNLABELLED, marks.labels), NAMES)
    classifier = fit_classifier(scene, marks, kind)
    found = classifier.classify(other)
    asked = other.classes >= 3 - classes
    assert (found.classes == other.classes)[asked].mean() > 0.98
    assert found.class_names == NAMES
    assert set(np.unique(found.classes)) <= set(classifier.given.tolist())
    shares = classifier.probabilities(other)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)
    assert classes == 3 or (shares[0] == 0).all(), "what was not marked is never given"


def test_other_light_and_a_veil_do_not_matter_but_without_normalisation_they_do():
    scene = painted(noise=0.002)
    veiled = replace(scene, cube=0.4 * scene.cube + 0.3)
    right = {}
    for name in ("snv", "none"):
        classifier = fit_classifier(scene, marked(scene), "lda", name, 0)
        right[name] = (classifier.classify(veiled).classes == scene.classes).mean()
    assert right["snv"] > 0.98
    assert right["none"] < 0.8


@pytest.mark.parametrize("scale", [1 / 3686, 3686])
def test_the_scale_of_the_values_does_not_matter(scale):
    scene, other = painted(), painted(1)
    classifier = fit_classifier(scene, marked(scene), "lda")
    found = classifier.classify(replace(other, cube=scale * other.cube)).classes
    assert (found == classifier.classify(other).classes).mean() > 0.995


@pytest.mark.parametrize("kind", KINDS)
def test_without_normalisation_the_scale_of_the_whole_scene_does_not_matter(kind):
    scene = painted()
    dim = replace(scene, cube=scene.cube * np.float32(2.0**-50))
    found = [fit_classifier(each, marked(each), kind, "none").classify(each).classes for each in (scene, dim)]
    assert (found[0] == found[1]).mean() > 0.995


def test_the_normalisation_takes_out_light_and_veil():
    spectra = np.random.default_rng(0).random((5, BANDS))
    expected = standard_normal_variate(spectra, 0)
    np.testing.assert_allclose(standard_normal_variate(3 * spectra + 0.2, 0), expected, rtol=1e-9)
    np.testing.assert_allclose([expected.mean(1), expected.std(1)], [[0] * 5, [1] * 5], atol=1e-9)
    dark = 1e-4 * spectra
    floor = floor_of([np.ones((2, 4, 4))])
    assert floor == pytest.approx(0.05)
    assert abs(standard_normal_variate(dark, floor)).max() < 0.01, "noise of what is black stays small"
    assert np.isfinite(standard_normal_variate(np.ones((1, 4)), 0)).all()


def test_pixels_without_data_are_unlabelled_and_heard_by_nobody():
    scene = painted()
    cube = scene.cube.copy()
    cube[2, 5, 5:9] = np.nan
    classifier = fit_classifier(scene, marked(scene))
    found = classifier.classify(replace(scene, cube=cube)).classes
    assert (found[5, 5:9] == UNLABELLED).all()
    assert (found == UNLABELLED).sum() == 4
    cube[0, 2, 3] = np.nan
    holed = replace(scene, cube=cube)
    with pytest.raises(InputError, match="row 2, column 3, marked as 'background', holds no data; mark another"):
        fit_classifier(holed, marked(scene))


def test_every_class_that_is_named_takes_memory():
    scene = painted()
    classifier = replace(fit_classifier(scene, marked(scene), "angle"), class_names=tuple(map(str, range(251))))
    with limited_to(4 * 200 * SIDE**2), pytest.raises(InputError, match="the classes of 'painted 0' needs"):
        classifier.probabilities(scene)


def test_other_bands_are_resampled_and_those_out_of_reach_refused():
    classifier = fit_classifier(painted(), marked(painted()), "lda")
    finer = painted(2, tuple(np.linspace(440, 660, 37)))
    assert (classifier.classify(finer).classes == finer.classes).mean() > 0.98
    with pytest.raises(InputError, match="needs 450–650 nm, but 'painted 0' covers 500–650 nm"):
        classifier.classify(painted(0, tuple(np.linspace(500, 650, BANDS))))
    unknown = replace(painted(), wavelengths=None)
    with pytest.raises(InputError, match="has none; give them with wavelengths"):
        classifier.classify(unknown)
    blind = fit_classifier(unknown, marked(painted()), "lda")
    assert (blind.classify(unknown).classes == painted().classes).mean() > 0.98
    with pytest.raises(InputError, match="was made without wavelengths"):
        blind.classify(painted())
    with pytest.raises(InputError, match=f"knows {BANDS} bands but .* has 5"):
        blind.classify(replace(unknown, cube=unknown.cube[:5]))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "svm"}, "there is no kind 'svm'"),
        ({"normalisation": "log"}, "there is no normalisation 'log'"),
        ({"smoothing": -1}, "the strength of the smoothing is -1"),
        ({"smoothing": float("nan")}, "the strength of the smoothing is nan"),
    ],
)
def test_odd_settings_are_refused(settings, told):
    with pytest.raises(InputError, match=told):
        fit_classifier(painted(), marked(painted()), **settings)


def test_marks_of_another_scene_and_too_few_bands_are_refused():
    scene = painted()
    with pytest.raises(InputError, match=r"24×24 pixels, not of 'painted 0' of 20×24"):
        fit_classifier(scene.cropped(0, 0, 20, SIDE), marked(scene))
    two = replace(scene, cube=scene.cube[:2], wavelengths=NM[:2])
    with pytest.raises(InputError, match="spectra of 2 bands have no shape to compare; set normalisation to none"):
        fit_classifier(two, marked(scene))
    assert fit_classifier(two, marked(scene), "lda", "none").bands == 2


# -- choosing ----------------------------------------------------------------------------------------------------


def test_a_place_is_never_on_both_sides():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [40, 12, 9])
    places = np.concatenate([rng.integers(1, 8, 40), rng.integers(8, 11, 12), np.full(9, 20)])
    fold = folds(Examples(np.zeros((61, 3)), classes, places))
    for place in np.unique(places):
        assert len(set(fold[places == place])) == 1
    assert (fold[classes == 2] == UNLABELLED).all(), "a class in one place is always learnt from"
    for number in (0, 1):
        for each in range(fold.max() + 1):
            assert (fold[classes == number] != each).any(), "what is left out leaves examples of every class"


def test_neighbours_do_not_vouch_for_each_other():
    """A kind that only remembers is exposed: places agree within themselves and with no other of their class."""
    rng = np.random.default_rng(1)
    places = np.repeat(np.arange(20), 10)
    classes = places % 2
    spectra = 5 * rng.standard_normal((20, BANDS))[places] + 0.01 * rng.standard_normal((200, BANDS))
    (fair,) = cross_validate(Examples(spectra, classes, places), ["trees"])
    (unfair,) = cross_validate(Examples(spectra, classes, np.arange(200)), ["trees"])
    assert unfair.accuracy > 0.9
    assert fair.accuracy < 0.75


def test_the_best_on_unseen_places_is_chosen():
    scene = painted(noise=0.05)
    classifier = fit_classifier(scene, marked(scene))
    trials = {each["kind"]: each["accuracy"] for each in classifier.provenance["trials"]}
    assert trials.keys() == KINDS.keys()
    assert trials[classifier.kind] == max(trials.values())
    assert classifier.provenance["marked"]["leaf"] == {"pixels": 5, "places": 5}
    alone = fit_classifier(scene, marked(scene, rows=(12,)))
    assert alone.kind == "lda", "nothing can be compared: the first"
    assert {each["accuracy"] for each in alone.provenance["trials"]} == {None}


def test_large_boxes_are_thinned_and_classes_weigh_the_same(monkeypatch):
    monkeypatch.setattr(fitting, "MOST_PER_CLASS", 20)
    scene = painted()
    labels = np.where(scene.classes == 1, 1, UNLABELLED)
    labels[3, 2], labels[3, 20] = 0, 2
    classifier = fit_classifier(scene, Marks.of_labels(labels, NAMES), "logistic")
    assert classifier.provenance["marked"]["leaf"]["pixels"] == SIDE * SIDE // 3
    assert (classifier.classify(scene).classes == scene.classes).mean() > 0.95


# -- equal to what was fitted ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4])
def test_trees_are_those_of_scikit_learn(drawn, count):
    spectra, places, others = drawn
    few = places < count
    model = GradientBoostingClassifier(n_estimators=8, max_depth=4, random_state=0).fit(spectra[few], places[few])
    others = np.concatenate([others, spectra])  # also on the thresholds' own values
    ours = trees.scores(trees.tables(model, spectra[:1]), others)
    expected = model.predict_proba(others)
    shares = np.exp(ours - ours.max(1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), expected, atol=1e-12)


@pytest.mark.parametrize("count", [2, 4])
def test_logistic_regression_is_that_of_scikit_learn(drawn, count):
    spectra, places, others = drawn
    few = places < count
    middle, scale = spectra[few].mean(0), spectra[few].std(0)
    model = LogisticRegression(C=kinds.LOGISTIC_C, class_weight="balanced", max_iter=2000)
    expected = model.fit((spectra[few] - middle) / scale, places[few]).predict_proba((others - middle) / scale)
    ours = kinds.linear_scores(kinds.fit_logistic(spectra[few], places[few]), others)
    shares = np.exp(ours - ours.max(1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), expected, atol=1e-9)


def test_the_covariance_is_that_of_ledoit_and_wolf(drawn):
    for few in (drawn[0], drawn[0][:5]):
        few = few - few.mean(0)
        np.testing.assert_allclose(kinds.ledoit_wolf(few), theirs(few, assume_centered=True)[0], rtol=1e-4, atol=1e-9)
    assert np.linalg.cond(kinds.ledoit_wolf(np.zeros((3, BANDS)))) == pytest.approx(1)


def test_the_angle_is_that_to_the_mean_direction():
    spectra = np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1]], float)
    arrays = kinds.fit_angle(spectra, np.array([0, 0, 1, 1]))
    scores = kinds.angle_scores(arrays, np.array([[5, 1, 0], [0.5, 2, 0]], float))
    assert scores.argmax(1).tolist() == [0, 1]
    reference = arrays["references"][0]
    angle = np.arccos(np.array([5, 1, 0]) @ reference / np.sqrt(26))
    assert scores[0, 0] == pytest.approx(-0.5 * (angle / arrays["spread"][0]) ** 2)


# -- neighbours --------------------------------------------------------------------------------------------------


def test_neighbours_of_like_spectra_agree_and_borders_stay():
    rng = np.random.default_rng(0)
    spectra = np.zeros((2, 20, 20), np.float32)
    spectra[0, :, 10:] = 5
    spectra += 0.1 * rng.standard_normal(spectra.shape).astype(np.float32)
    truth = np.repeat([0, 1], 10)[None].repeat(20, 0)
    wrong = rng.random((20, 20)) < 0.1
    shares = np.where((truth ^ wrong)[None] == np.arange(2)[:, None, None], 0.7, 0.3).astype(np.float32)
    after = smoothed(shares, spectra, 8).argmax(0)
    assert (after != truth).sum() <= 2 < wrong.sum()
    np.testing.assert_array_equal(smoothed(shares, spectra, 0), shares)
    np.testing.assert_allclose(smoothed(shares, spectra, 8).sum(0), 1, atol=1e-5)


def test_a_ground_that_was_cut_out_does_not_turn_smoothing_off():
    truth = np.repeat([[0] * 12 + [1] * 12], 24, 0)
    rng = np.random.default_rng(0)
    shares = np.stack([np.where(truth == k, 0.6, 0.4) for k in (0, 1)]).astype(np.float32)
    wrong = rng.random(truth.shape) < 0.1
    shares[:, wrong] = shares[::-1, wrong]
    spectra = (truth + 0.05 * rng.standard_normal((9, *truth.shape))).astype(np.float32)
    alone = smoothed(shares, spectra, 8)
    ground = ((0, 0), (0, 0), (40, 40))
    with np.errstate(all="raise", under="ignore"):
        within = smoothed(np.pad(shares, ground, constant_values=0.5), np.pad(spectra, ground), 8)
    assert (alone.argmax(0) != truth).sum() <= 2
    assert (within[..., 40:-40].argmax(0) != truth).sum() <= 2


def test_a_mean_field_step_is_the_formula(monkeypatch):
    """One round on three pixels in a row, written out."""
    from crsdun.classifiers import smoothing

    monkeypatch.setattr(smoothing, "ROUNDS", 1)
    shares = np.array([[[0.9, 0.4, 0.6]], [[0.1, 0.6, 0.4]]], np.float32)
    spectra = np.array([[[0.0, 1.0, 3.0]]], np.float32)
    usual = smoothing.ALIKE * 2.5  # the median of 1 and 4
    near = [np.exp(-(d**2) / (2 * smoothing.DISTANCE**2)) for d in (1, 2)]
    weight = {(0, 1): near[0] * np.exp(-1 / (2 * usual)), (1, 2): near[0] * np.exp(-4 / (2 * usual)),
              (0, 2): near[1] * np.exp(-9 / (2 * usual))}  # fmt: skip
    heard = (weight[0, 1] * shares[:, 0, 0] + weight[1, 2] * shares[:, 0, 2]) / (weight[0, 1] + weight[1, 2])
    expected = shares[:, 0, 1] * np.exp(2.0 * heard)
    np.testing.assert_allclose(smoothed(shares, spectra, 2.0)[:, 0, 1], expected / expected.sum(), rtol=1e-5)


# -- without scikit-learn ----------------------------------------------------------------------------------------


def test_lda_and_the_angle_need_no_scikit_learn_and_saved_trees_neither(tmp_path):
    from crsdun.classifiers import save_classifier

    save_classifier(fit_classifier(painted(), marked(painted()), "trees"), tmp_path / "trees.safetensors")
    code = f"""
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "sklearn":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from crsdun.classifiers import kinds, fit_classifier, load_classifier
kinds.find_spec = lambda name: None
from crsdun.errors import InputError
from tests.classifiers.scenes import marked, painted
scene = painted()
fitted = fit_classifier(scene, marked(scene))
print([trial["kind"] for trial in fitted.provenance["trials"]])
saved = load_classifier({str(tmp_path / "trees.safetensors")!r})
print((saved.classify(scene).classes == scene.classes).mean() > 0.95)
try:
    fit_classifier(scene, marked(scene), "logistic")
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:2] == ["['lda', 'angle']", "True"]
    assert lines[2].startswith(
        'scikit-learn, which fits logistic regression, is not installed; pip install "crsdun[c'
    )
