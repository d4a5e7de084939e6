from mdflow.reports.tables import ERRORS, LABEL_FREE, figure_table, text_table


def test_text_table_is_aligned():
    assert text_table(["a", "figure"], [["long", "1"], ["b", "22.5"]]).splitlines() == [
        "a     figure",
        "------------",
        "long       1",
        "b       22.5",
    ]


def test_figure_table_shows_what_there_is():
    rows = [(["x"], {"pairs": 2, "epe": 1.23456}), (["y"], {"pairs": 3, "epe": 2.0, "epe_unmatched": 9.0})]
    lines = figure_table(["set"], rows).splitlines()
    assert lines[0].split() == ["set", "pairs", "EPE", "EPE", "unmatched"]
    assert lines[2].split() == ["x", "2", "1.235", "-"]
    assert lines[3].split() == ["y", "3", "2.000", "9.000"]


def test_a_figure_of_fewer_pairs_says_of_how_many():
    figures = {"pairs": 7, "epe": 1.0, "pairs_matched": 1, "epe_matched": 2.0}
    assert figure_table(["set"], [(["kitti"], figures)], ERRORS).endswith("2.000 (1)")


def test_a_table_without_figures_is_empty():
    assert figure_table(["set"], [(["x"], {"pairs": 1, "epe": 1.0})], LABEL_FREE) == ""
