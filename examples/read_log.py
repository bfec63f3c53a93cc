"""mmtt.log as a table of pandas, and what each host does by it.

    python examples/read_log.py mmtt.log

Takes what Zeek and `mmtt classify` write, TSV or JSON lines, plain or .gz. Needs pandas: pip install pandas
"""

import gzip
import json
import re
import sys
from pathlib import Path

import pandas as pd

#: Zeek's types -> pandas', all of which know "not set".
_TYPES = {
    "count": pd.Int64Dtype,
    "int": pd.Int64Dtype,
    "port": pd.Int64Dtype,
    "double": pd.Float64Dtype,
    "interval": pd.Float64Dtype,
}


def read_log(path: str | Path) -> pd.DataFrame:
    """The log's rows; what is unset there is NA here, `ts` is a time in UTC, `malicious` a bool.

    Raises:
        ValueError: it is no log of Zeek's.
    """
    path = Path(path)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        lines = file.read().splitlines()
    if lines and lines[0].startswith("{"):
        table = pd.DataFrame(json.loads(line) for line in lines).convert_dtypes()
    else:
        table = _of_tsv(path, lines)
    table["ts"] = pd.to_datetime(table["ts"].astype("float64"), unit="s", utc=True).dt.round("us")
    return table


def _of_tsv(path: Path, lines: list[str]) -> pd.DataFrame:
    about = dict(line[1:].split("\t", 1) for line in lines if line.startswith("#") and "\t" in line)
    if "fields" not in about or "types" not in about:
        raise ValueError(f"{path}: has no #fields and #types; is it a log of Zeek's?")
    names, types = about["fields"].split("\t"), about["types"].split("\t")
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    table = pd.DataFrame(rows, columns=names, dtype="string").replace(about.get("unset_field", "-"), pd.NA)
    for name, kind in zip(names, types, strict=True):
        if kind in _TYPES:
            table[name] = pd.to_numeric(table[name]).astype(_TYPES[kind]())
        elif kind == "bool":
            table[name] = table[name].map({"T": True, "F": False}).astype("boolean")
        elif kind == "string":
            table[name] = table[name].map(_unescaped, na_action="ignore").astype("string")
    return table


def _unescaped(text: str) -> str:
    r"""Zeek writes what would be misread as \x and two digits."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/read_log.py mmtt.log")
    try:
        log = read_log(sys.argv[1])
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(log["status"].value_counts().to_string())
    answered = log[log["status"] == "ok"]
    print("\nwindows by host and service:")
    print(pd.crosstab(answered["id.orig_h"], answered["service"]).to_string())
    print(f"\nhighest malicious score: {answered['malicious_score'].max():.2f}")


if __name__ == "__main__":
    main()
