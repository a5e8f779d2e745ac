"""Two evaluations: intervals that cover what is known, refusals that name the difference."""

from dataclasses import replace

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.evaluation import Evaluation, compare
from crsdun.evaluation.evaluator import by_psnr

SCENES = 40
NAMES = ["background", "real pear", "fake pear"]
DATA = {"name": "made test", "bands": 3, "wavelengths_nm": [450.0, 550.0, 650.0], "class_names": NAMES}
DATA["fingerprint"] = "0" * 64
rng = np.random.default_rng(0)
HARD = rng.normal(30, 3, SCENES)  # scenes differ far more than methods
LUCK = rng.normal(0, 0.2, SCENES)


def made(shift=0.0, wrong=20, noise=0.0, **changes) -> Evaluation:
    """Of ``SCENES`` scenes: PSNR ``shift`` higher up to some noise, ``wrong`` of 100 pear pixels taken for fake."""
    scenes = [
        {
            "name": f"scene {index}",
            "psnr_db": HARD[index] + shift + noise * LUCK[index],
            "ssim": None,
            "sam_deg": 5.0 - shift,
            "rmse": 0.1,
            "confusion": [[0, 0, 900], [1, 1, 100 - wrong - index % 3], [1, 2, wrong + index % 3], [2, 2, 50]],
        }
        for index in range(SCENES)
    ]
    evaluation = Evaluation(
        method="made",
        protocol="crsdun",
        data=DATA,
        camera={"mask": "random:0", "step": 2, "noise": {}},
        stages=[{}],
        classes=[],
        confusion=[[1]],
        scenes=scenes,
        record={},
    )
    return replace(evaluation, **changes)


def test_scenes_without_a_psnr_come_before_the_worst():
    scenes = made().scenes[:4]
    scenes[2]["psnr_db"] = None  # of a truth of zeros
    order = by_psnr(scenes)
    assert order[0] == 2
    assert [scenes[place]["psnr_db"] for place in order[1:]] == sorted(
        scenes[place]["psnr_db"] for place in (0, 1, 3)
    )


def by_figure(a, b):
    return {each.figure: each for each in compare(a, b)}


def test_the_interval_covers_a_known_shift_and_is_paired():
    psnr = by_figure(made(), made(shift=0.5, noise=1))["psnr_db"]
    assert psnr.difference == pytest.approx(0.5 + LUCK.mean())
    assert psnr.low < 0.5 < psnr.high
    # unpaired, the scenes' own spread of 3 dB would drown it
    assert psnr.high - psnr.low < 0.2
    # a bootstrap of a mean is close to ± 1.96 standard errors
    error = LUCK.std() / np.sqrt(SCENES)
    assert psnr.high - psnr.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert psnr.clear


def test_no_difference_is_not_clear():
    psnr = by_figure(made(), made(noise=1))["psnr_db"]
    assert not psnr.clear
    same = by_figure(made(), made())
    assert all(each.difference == each.low == each.high == 0 for each in same.values())


def test_classes_are_pooled_before_they_are_compared():
    found = by_figure(made(wrong=20), made(wrong=10))
    assert found.keys() == {
        "psnr_db", "sam_deg", "rmse", "miou", "f1", "accuracy", "kind_accuracy", "authenticity_accuracy",
    }  # fmt: skip
    extra = sum(index % 3 for index in range(SCENES))
    pear, fake = 100 * SCENES, 50 * SCENES
    wrong_a, wrong_b = 20 * SCENES + extra, 10 * SCENES + extra
    iou = [((pear - wrong) / pear + fake / (fake + wrong)) / 2 for wrong in (wrong_a, wrong_b)]
    miou = found["miou"]
    assert [miou.a, miou.b] == pytest.approx(iou, rel=1e-5)
    assert miou.low < miou.difference < miou.high
    assert found["authenticity_accuracy"].difference == pytest.approx((wrong_a - wrong_b) / (pear + fake))


def of_scenes(confusions, names) -> Evaluation:
    rows = [{**row, "confusion": each} for row, each in zip(made().scenes, confusions, strict=False)]
    return made(scenes=rows, data=DATA | {"class_names": names})


def test_a_class_that_a_resample_does_not_hold_is_left_out():
    """Each class occurs in one scene, a last one in none; B is better by the same in each."""
    names = ["background", *map(str, range(1, 8))]
    a, b = (
        of_scenes([[[0, 0, 500], [n, n, right], [n, 0, 100 - right]] for n in range(1, 7)], names)
        for right in (60, 80)
    )
    found = by_figure(a, b)
    miou = found["miou"]
    assert miou.difference == pytest.approx(6 / 7 * 0.2, rel=1e-5)
    assert [miou.low, miou.high] == pytest.approx([miou.difference] * 2, rel=1e-5)
    assert found["f1"].low == pytest.approx(found["f1"].difference, rel=1e-5)


def test_only_labelled_scenes_count_for_classes():
    a, b = (of_scenes([[[1, 1, right], [1, 2, 100 - right]], [], [[0, 0, 9]], []], NAMES) for right in (60, 80))
    found = by_figure(a, b)
    assert found["accuracy"].low == pytest.approx(0), "of the second labelled one alone"
    assert found["accuracy"].high == pytest.approx(0.2), "of the first alone"
    assert found["miou"].low == pytest.approx(0.1, rel=1e-3), "a resample without pears says nothing of them"
    assert found["authenticity_accuracy"].low == pytest.approx(0.2)
    for row in (*a.scenes[2:], *b.scenes[2:]):
        row["confusion"] = []
    assert "accuracy" not in by_figure(a, b), "one scene has no interval"


def test_the_interval_is_the_same_every_time():
    assert compare(made(), made(noise=1)) == compare(made(), made(noise=1))


def test_cubes_are_compared_where_only_one_knows_classes():
    assert by_figure(made(), made(confusion=[])).keys() == {"psnr_db", "sam_deg", "rmse"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": "mst"}, "protocols differ: crsdun and mst"),
        ({"camera": {"mask": "random:0", "step": 1, "noise": {}}}, "cameras differ in step: 2 and 1"),
        ({"camera": {"mask": "random:1", "step": 2, "noise": {}}}, "differ in mask: random:0 and random:1"),
        ({"data": DATA | {"name": "other", "fingerprint": "1" * 64}}, "data differ: made test .*and other"),
        (
            {"data": DATA | {"bands": 2, "wavelengths_nm": [450.0, 650.0]}},
            "bands differ: 3 at 450–650 nm and 2 at 450–650 nm",
        ),
        (
            {"data": DATA | {"wavelengths_nm": [450.0, 560.0, 650.0]}},
            "bands differ: 3 at 450–650 nm, spaced differently",
        ),
        ({"scenes": made().scenes[:-1]}, "scenes differ: 40 and 39, scene 39 in one only"),
    ],
)
def test_what_cannot_be_compared_is_named(changes, words):
    with pytest.raises(InputError, match=words):
        compare(made(), made(**changes))


def test_one_scene_is_too_few():
    one = made(scenes=made().scenes[:1])
    with pytest.raises(InputError, match="single scene"):
        compare(one, one)
