"""Marked pixels: which tables and maps are understood, and what is said of those that are not."""

import numpy as np
import pytest

from crsdun.classifiers import Marks, read_points
from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED

H, W = 20, 30


def points(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text)
    return read_points(path, H, W)


def test_rows_and_columns_or_x_and_y(tmp_path):
    by_row = points(tmp_path, "row,column,class\n3,7,leaf\n0,29,background\n")
    assert by_row.class_names == ("background", "leaf")
    assert by_row.labels[3, 7] == 1
    assert by_row.labels[0, 29] == 0
    assert by_row.marked.sum() == 2
    by_place = points(tmp_path, "name; Class; Y; X\na; leaf; 3,5; 7\nb; background; 0; 29,99\n")
    np.testing.assert_array_equal(by_place.labels, by_row.labels)


def test_without_background_class_0_is_empty(tmp_path):
    marks = points(tmp_path, "row,column,class\n1,1,leaf\n2,2,fruit\n1,1,leaf\n")
    assert marks.class_names == ("background", "leaf", "fruit")
    assert sorted(np.unique(marks.labels)) == [UNLABELLED, 1, 2]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("2", "1"), ("background", "1", "2")),
        (("4", "background", "2"), ("background", "1", "2", "3", "4")),
        (("1", "0"), ("0", "1")),
    ],
)
def test_classes_named_by_numbers_keep_them(tmp_path, given, names):
    table = "".join(f"1,{place},{name}\n" for place, name in enumerate(given))
    marks = points(tmp_path, f"row,column,class\n{table}")
    assert marks.class_names == names
    expected = [0 if name == "background" else int(name) for name in given]
    assert marks.labels[1, : len(given)].tolist() == expected
    labels = np.full((H, W), UNLABELLED)
    labels[1, : len(given)] = range(len(given))
    np.testing.assert_array_equal(Marks.of_labels(labels, given).labels, marks.labels)


@pytest.mark.parametrize("given", [("1", "leaf"), ("01", "1"), ("111", "512"), ("background", "0")])
def test_other_names_are_numbered_as_they_come(tmp_path, given):
    marks = points(tmp_path, f"row,column,class\n1,1,{given[0]}\n1,2,{given[1]}\n")
    assert marks.class_names == tuple(dict.fromkeys(("background", *given)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("3,7,leaf\n4,8,fruit\n", "the first line .* is '3,7,leaf'; expected a line with the names of the columns"),
        ("row,column\n3,7\n", "first line"),
        ("row,column,class\n", "holds no points"),
        ("row,column,class\n3,7\n", "3 columns in line 1 and 2 in line 2"),
        ("row,column,class\n3.5,7,leaf\n", "line 2 .* has the row '3.5' where a whole number is expected"),
        ("row,column,class\n3,seven,leaf\n", "line 2 .* has the column 'seven'"),
        ("x,y,class\nnan,7,leaf\n", "line 2 .* has the x 'nan' where a number is expected"),
        ("row,column,class\n3,7,leaf\n20,7,fruit\n", "line 3 .* marks row 20, column 7, outside the scene of 20×30"),
        ("row,column,class\n-1,7,leaf\n", "outside the scene"),
        ("row,column,class\n3,7,\n", "line 2 .* names no class"),
        ("row,column,class\n3,7,leaf\n3,7,fruit\n", "row 3, column 7 is marked as 'leaf' and as 'fruit'"),
        ("row,column,class\n3,7,leaf\n4,7,leaf\n", "1 class is marked; mark pixels of at least two"),
        ("row,column,class\n3,7,leaf\n4,7,unlabelled\n", "'unlabelled' is no name of a class"),
        (f"row,column,class\n3,7,leaf\n4,7,{'x' * 99}\n", "is no name of a class"),
        ("row,row,column,class\n3,7,7,leaf\n", "the column 'row' twice"),
        ("row,column,class\n\0,7,leaf\n", "is no text"),
        ("# one\n\nrow,column,class\n# two\n3,7,leaf\n\n3,x,fruit\n", "line 7 .* has the column 'x'"),
        ("# one\n\nrow column class\n3 7\n", "3 columns in line 3 and 2 in line 4"),
        ('row,column,class\n3,7,"le\naf"\n3,x,fruit\n', "line 4 .* has the column 'x'"),
    ],
)
def test_malformed_tables_are_refused_in_plain_words(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        points(tmp_path, text)


def test_a_label_for_void_is_named_with_its_remedy():
    labels = np.zeros((H, W), int)
    labels[2, 3], labels[4, 5], labels[6:] = 1, 2, 255
    words = (
        "labels go up to 255, and there are at most 250 classes; set unlabelled to 255, if that marks pixels without"
    )
    with pytest.raises(InputError, match=words):
        Marks.of_labels(labels)
    assert Marks.of_labels(np.where(labels == 255, UNLABELLED, labels)).marked.sum() == 2


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.csv"):
        read_points(tmp_path / "none.csv", H, W)


def test_a_sparse_map_marks_what_it_labels():
    labels = np.zeros((H, W), int)
    labels[2, 3], labels[4, 5] = 1, 3
    marks = Marks.of_labels(labels)
    assert marks.class_names == ("background", "class 1", "class 2", "class 3")
    assert marks.marked.sum() == 2, "without names, 0 is not marked"
    named = Marks.of_labels(labels, ("background", "leaf", "fruit", "stem"))
    assert named.marked.all(), "with names it is background"
    with pytest.raises(InputError, match="the label map holds labels of 0 to 3 but 3 class names"):
        Marks.of_labels(labels, ("background", "leaf", "fruit"))
    with pytest.raises(InputError, match="0 classes are marked"):
        Marks.of_labels(0 * labels)
    with pytest.raises(InputError, match="400 classes are named; name at most 251"):
        Marks.of_labels(labels, ("background", *(f"leaf {number}" for number in range(399))))


def test_neighbours_of_a_class_are_one_place():
    labels = np.full((H, W), UNLABELLED)
    labels[2:6, 2:6] = 1  # a box
    labels[8, 4] = 1  # three rows below it
    labels[2, 10] = 1  # five columns beside it
    labels[15, 20] = labels[16, 21] = 1  # neighbours across a corner
    labels[15, 21] = 0  # of another class between them
    places = Marks.of_labels(labels, ("background", "leaf")).places()
    assert len(np.unique(places[2:6, 2:6])) == 1
    assert places[8, 4] == places[2, 2] != places[2, 10]
    assert places[15, 20] == places[16, 21] != places[15, 21]
    assert (places > 0).sum() == 16 + 2 + 3


def test_what_is_called_background_is_class_0_wherever_it_comes_from(tmp_path):
    labels = np.full((H, W), UNLABELLED)
    labels[2, 3], labels[4, 5] = 0, 1
    for names, expected in (
        (("leaf", "background"), ("background", "leaf")),
        (("leaf", "Background"), ("Background", "leaf")),
        (("leaf", "fruit"), ("background", "leaf", "fruit")),
    ):
        marks = Marks.of_labels(labels, names)
        assert marks.class_names == expected
        assert [marks.class_names[marks.labels[place]] for place in ((2, 3), (4, 5))] == list(names)
        table = points(tmp_path, f"row,column,class\n2,3,{names[0]}\n4,5,{names[1]}\n")
        assert table.class_names == expected
        np.testing.assert_array_equal(table.labels, marks.labels)
