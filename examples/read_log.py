"""mmtt.log as a table of pandas, and what each host does by it.

    python examples/read_log.py mmtt.log

Takes what Zeek and `mmtt classify` write, TSV or JSON lines, plain or .gz. Needs pandas: pip install pandas
"""

import gzip
import json
import re
import signal
import sys
import zlib
from pathlib import Path

try:
    import pandas as pd
except ModuleNotFoundError as error:
    sys.exit(f"this needs {error.name}, which is not installed; type: pip install pandas")

#: Zeek's types -> pandas', all of which know "not set".
_TYPES = {
    "count": pd.Int64Dtype,
    "int": pd.Int64Dtype,
    "port": pd.Int64Dtype,
    "double": pd.Float64Dtype,
    "interval": pd.Float64Dtype,
}
#: Seconds since 1970 that pandas can hold as nanoseconds: until the year 2262.
_LAST = 2**63 / 1e9 - 1


def read_log(path: str | Path) -> pd.DataFrame:
    """The log's rows; what is unset there is NA here, `ts` is a time in UTC, `malicious` a bool.

    Raises:
        OSError: it can't be read.
        ValueError: it is no log of Zeek's, or damaged; with file and line.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            lines = dict(enumerate(file.read().split("\n"), 1))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8; is it a log of Zeek's?") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged: {error}") from None
    table = _of_json(path, lines) if lines[1].startswith("{") else _of_tsv(path, lines)
    if "ts" not in table:
        raise ValueError(f"{path}: has no column ts; is it a log of Zeek's?")
    ts = _numbers(path, table["ts"], 0, _LAST).astype("float64")
    table["ts"] = pd.to_datetime(ts, unit="s", utc=True).dt.round("us")
    return table.reset_index(drop=True)


def _of_json(path: Path, lines: dict[int, str]) -> pd.DataFrame:
    """The rows by their lines' numbers, as are those of `_of_tsv`."""
    rows = {}
    for number, line in lines.items():
        if not line:
            continue
        try:
            rows[number] = json.loads(line)
        except ValueError:
            raise ValueError(f"{path}:{number}: not JSON") from None
        if not isinstance(rows[number], dict):
            raise ValueError(f"{path}:{number}: not a row of a log")
    return pd.DataFrame(rows.values(), index=rows.keys()).convert_dtypes()


def _of_tsv(path: Path, lines: dict[int, str]) -> pd.DataFrame:
    about = dict(line[1:].split("\t", 1) for line in lines.values() if line.startswith("#") and "\t" in line)
    if "fields" not in about or "types" not in about:
        raise ValueError(f"{path}: has no #fields and #types; is it a log of Zeek's?")
    names, types = about["fields"].split("\t"), about["types"].split("\t")
    if len(names) != len(types):
        raise ValueError(f"{path}: has {len(names)} #fields and {len(types)} #types; is it a log of Zeek's?")
    rows = {number: line.split("\t") for number, line in lines.items() if line and not line.startswith("#")}
    for number, row in rows.items():
        if len(row) != len(names):
            raise ValueError(f"{path}:{number}: {len(row)} columns, and {len(names)} #fields")
    table = pd.DataFrame(rows.values(), index=rows.keys(), columns=names, dtype="string")
    table = table.replace(about.get("unset_field", "-"), pd.NA)
    for name, kind in zip(names, types, strict=True):
        if kind in _TYPES:
            table[name] = _numbers(path, table[name], whole=_TYPES[kind] is pd.Int64Dtype).astype(_TYPES[kind]())
        elif kind == "bool":
            table[name] = table[name].map({"T": True, "F": False}).astype("boolean")
        elif kind == "string":
            table[name] = table[name].map(_unescaped, na_action="ignore").astype("string")
    return table


def _numbers(
    path: Path, column: pd.Series, least: float = -(2**63), most: float = 2**62, whole: bool = False
) -> pd.Series:
    """A column's numbers, none of which may be outside of those limits."""
    numbers = pd.to_numeric(column, errors="coerce")
    fits = numbers.between(least, most)
    if whole:
        fits &= numbers % 1 == 0
    wrong = column[column.notna() & ~fits.astype("boolean").fillna(False)]
    if not wrong.empty:
        raise ValueError(f"{path}:{wrong.index[0]}: {column.name} can't be {wrong.iloc[0]}")
    return numbers


def _unescaped(text: str) -> str:
    r"""Zeek writes what would be misread as \x and two digits."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # once `head` has enough this ends, too
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("usage: python examples/read_log.py mmtt.log")
    try:
        log = read_log(sys.argv[1])
    except OSError as error:
        sys.exit(f"{error.filename or sys.argv[1]}: {error.strerror}")
    except ValueError as error:
        sys.exit(str(error))
    if "status" not in log:
        sys.exit(f"{sys.argv[1]}: has no column status; is it mmtt.log?")
    print(log["status"].value_counts().to_string())
    answered = log[log["status"] == "ok"]
    if answered.empty:
        return
    if not {"id.orig_h", "service", "malicious_score"} <= set(answered):
        sys.exit(f"{sys.argv[1]}: lacks columns of mmtt.log; is it one?")
    print("\nwindows by host and service:")
    print(pd.crosstab(answered["id.orig_h"], answered["service"]).to_string())
    print(f"\nhighest malicious score: {answered['malicious_score'].max():.2f}")
    kinds = answered.get("malicious_kind", pd.Series(dtype="string")).dropna()  # logs up to 0.2.0 don't have it
    if not kinds.empty:
        print("\nwindows by malicious kind:")
        print(kinds.value_counts().to_string())


if __name__ == "__main__":
    main()
