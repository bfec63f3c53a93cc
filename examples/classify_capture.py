"""A capture's verdicts as a table of pandas.

    python examples/classify_capture.py CAPTURE

Needs pandas beside mmtt: pip install mmtt pandas
"""

import sys

import pandas as pd

from mmtt_agent import bundle
from mmtt_agent.capture import CaptureError, read_capture
from mmtt_agent.classifier import Classifier
from mmtt_agent.series import MIN_PACKETS


def table(path: str, classifier: Classifier) -> pd.DataFrame:
    """A row for each window that is long enough for a verdict, with the names of mmtt.log's columns."""
    capture = read_capture(path)
    windows, connections = capture.windows, capture.connections
    enough = windows.series.lengths >= MIN_PACKETS
    row = windows.connection[enough]
    originators, responders = connections.addresses(row)
    verdicts = classifier.classify(windows.series[enough])
    return pd.DataFrame(
        {
            "ts": pd.to_datetime(windows.ts[enough], unit="us", utc=True),
            "uid": [connections.uid(each) for each in row],
            "id.orig_h": originators,
            "id.orig_p": connections.orig_p[row],
            "id.resp_h": responders,
            "id.resp_p": connections.resp_p[row],
            "window": windows.window[enough],
            "packets": windows.series.lengths[enough],
            "service": verdicts.service,
            "service_score": verdicts.service_score,
            "application": verdicts.application,
            "application_score": verdicts.application_score,
            "malicious": verdicts.malicious,
            "malicious_score": verdicts.malicious_score,
        }
    )


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/classify_capture.py CAPTURE")
    try:
        found = table(sys.argv[1], Classifier(bundle.load()))
    except CaptureError as error:
        sys.exit(str(error))
    print(f"{len(found)} windows of {found['uid'].nunique()} connections")
    print(found.groupby(["service", "application"]).size().sort_values(ascending=False).to_string())
    print("\nmost suspicious:")
    columns = ["ts", "id.orig_h", "id.resp_h", "id.resp_p", "service", "application", "malicious_score"]
    print(found.nlargest(5, "malicious_score")[columns].to_string(index=False))


if __name__ == "__main__":
    main()
