"""What the benchmarks keep their numbers with."""

import pytest
import result_tables as tables


def test_rows_are_added_in_the_columns_of_the_table(tmp_path):
    path = tmp_path / "table.csv"
    assert tables.read(path) == []
    tables.append(path, {"b": 2}, columns=["a", "b"])
    tables.append(path, {"b": 4, "a": 3})
    assert path.read_text() == "a,b\n,2\n3,4\n"
    with pytest.raises(ValueError, match="'c'"):
        tables.append(path, {"c": 5})
    assert tables.read(path) == [{"a": "", "b": "2"}, {"a": "3", "b": "4"}]


def test_only_rows_with_all_these_values_are_replaced(tmp_path):
    path = tmp_path / "table.csv"
    rows = [
        {"name": "one", "size": 1, "found": 5},
        {"name": "one", "size": 2, "found": 6},
        {"name": "two", "size": 1, "found": 7},
    ]
    tables.write(path, rows)
    new = {"name": "one", "size": 1, "found": 8}
    tables.replace(path, [new], name="one", size=1)
    assert [row["found"] for row in tables.read(path)] == ["6", "7", "8"]
