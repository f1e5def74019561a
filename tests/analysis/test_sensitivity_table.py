"""The table of a sweep: suggestions counted by hand, text and back."""

import dataclasses
import math

import pytest

from fritz_compress.analysis import SensitivityRow, SensitivityTable

VALUES = {
    "stem": (0.90, 0.89, 0.70),
    "body": (0.85, 0.90, 0.90),
    "tail": (0.91, 0.90, 0.895),
}


def table(mode="max", sign=1.0):
    rows = tuple(
        SensitivityRow(layer, fraction, reached, sign * value)
        for layer, values in VALUES.items()
        for fraction, reached, value in zip(
            (0.25, 0.5, 0.75), (0.2, 0.5, 0.7), values
        )
    )
    return SensitivityTable(
        model="net",
        kind="filters",
        criterion="l1",
        metric="accuracy",
        mode=mode,
        baseline=sign * 0.9,
        rows=rows,
        tied={"stem": ("left", "right"), "body": (), "tail": ()},
    )


@pytest.mark.parametrize("mode, sign", [("max", 1.0), ("min", -1.0)])
@pytest.mark.parametrize(
    "max_loss, expected",
    [
        # What was zeroed, not what was asked for. 'body' loses at the first
        # fraction already: more is not looked at.
        (0.0, {"stem": 0.2, "body": 0.0, "tail": 0.5}),
        (0.01, {"stem": 0.5, "body": 0.0, "tail": 0.7}),
        (0.05, {"stem": 0.5, "body": 0.7, "tail": 0.7}),
        (1.0, {"stem": 0.7, "body": 0.7, "tail": 0.7}),
    ],
)
def test_suggestions(mode, sign, max_loss, expected):
    assert table(mode, sign).suggest(max_loss) == expected


def test_a_metric_that_is_no_number_is_a_loss():
    whole = table()
    rows = [*whole.rows[:1], dataclasses.replace(whole.rows[1], value=math.nan)]
    assert dataclasses.replace(whole, rows=tuple(rows)).suggest(1e9) == {
        "stem": 0.2
    }


def test_the_table_prints_layers_by_fractions():
    whole = dataclasses.replace(table(), skipped=(("head", "frozen"),))
    assert str(whole) == (
        "'net' with a fraction of the filters of one layer zeroed (l1)\n"
        "accuracy: 0.9 with none\n"
        "layer                    0.25   0.5   0.75\n"
        "stem (with left, right)   0.9  0.89    0.7\n"
        "body                     0.85   0.9    0.9\n"
        "tail                     0.91   0.9  0.895\n"
        "skipped head: frozen"
    )


def test_csv_and_back():
    text = table().to_csv()
    assert text.splitlines()[:2] == [
        "model,kind,criterion,metric,mode,baseline,tied,layer,fraction,"
        "reached,value",
        "net,filters,l1,accuracy,max,0.9,left right,stem,0.25,0.2,0.9",
    ]
    assert SensitivityTable.from_csv(text) == table()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", table().to_csv()[:80]])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="Expected the text of.*`"):
        SensitivityTable.from_csv(text)


def test_damaged_text_is_refused():
    text = table().to_csv().replace("0.25,0.2,0.9", "0.25,x,0.9")
    message = "Line 2 of the text is damaged: .*'x'.*stem,0.25,x,0.9.$"
    with pytest.raises(ValueError, match=message):
        SensitivityTable.from_csv(text)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="0 or more.*max_loss=-0.1"):
        table().suggest(-0.1)
    with pytest.raises(ValueError, match="0 or more.*nan"):
        table().suggest(math.nan)
    with pytest.raises(ValueError, match="'max' or 'min'.*'auto'"):
        table(mode="auto")
    with pytest.raises(ValueError, match="'nose' has no rows.*stem, body"):
        table().of("nose")
