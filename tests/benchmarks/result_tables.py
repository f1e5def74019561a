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
            _write(file, rows, columns or list(rows[0]))


def append(path, row, columns=None):
    """Adds a row, which stays there if the command is killed."""
    columns = columns or list(row)
    if not path.exists():
        write(path, [row], columns)
        return
    with path.open("a", newline="") as file:
        _write(file, [row], columns, header=False)


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


def _write(file, rows, columns, header=True):
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
