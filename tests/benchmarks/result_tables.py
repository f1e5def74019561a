"""Tables of results: the CSV files beside the commands that measured them."""

import csv
import datetime
import importlib.metadata

OURS = ("keras", "tensorflow", "fritz_compress")


def read(path):
    """The rows of a table, of which there are none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows, columns=None):
    """All rows at once; `columns` are those of the first one by default."""
    # Peers run some of the commands where the package is not installed.
    from fritz_compress.files import whole_file

    with whole_file(path) as unfinished:
        with unfinished.open("w", newline="") as file:
            writer = _writer(file, columns or list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def append(path, row, columns=None):
    """Adds a row, which stays there if the command is killed.

    A table that there is keeps its columns.
    """
    if not path.exists():
        write(path, [row], columns)
        return
    with path.open(newline="") as file:
        columns = next(csv.reader(file))
    with path.open("a", newline="") as file:
        _writer(file, columns).writerow(row)


def replace(path, rows, **keys):
    """Writes `rows` in place of those that have these values."""
    kept = [
        row
        for row in read(path)
        if any(row[name] != str(value) for name, value in keys.items())
    ]
    write(path, [*kept, *rows])


def made_with(*names):
    """Columns of a table: the date, and versions of packages."""
    versions = (
        f"{name} {importlib.metadata.version(name)}" for name in names or OURS
    )
    return {
        "date": datetime.date.today().isoformat(),
        "versions": " ".join(versions),
    }


def _writer(file, columns):
    return csv.DictWriter(file, columns, lineterminator="\n")
