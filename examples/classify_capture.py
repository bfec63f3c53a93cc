"""A capture's verdicts as a table of pandas.

    python examples/classify_capture.py CAPTURE

Needs pandas beside mmtt: pip install mmtt pandas
"""

import signal
import sys

try:
    import pandas as pd

    from mmtt_agent import bundle
    from mmtt_agent.capture import Capture, CaptureError, read_capture
    from mmtt_agent.classifier import Classifier
    from mmtt_agent.series import MIN_PACKETS
except ModuleNotFoundError as error:
    sys.exit(f"this needs {error.name}, which is not installed; type: pip install mmtt pandas")


def table(capture: Capture, classifier: Classifier) -> pd.DataFrame:
    """A row for each window that is long enough for a verdict, with the names of mmtt.log's columns."""
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
            "malicious_kind": verdicts.malicious_kind,  # "" where there is none
        }
    )


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # once `head` has enough this ends, too
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("usage: python examples/classify_capture.py CAPTURE")
    try:
        capture = read_capture(sys.argv[1])
        found = table(capture, Classifier(bundle.load()))
    except (bundle.BundleError, CaptureError) as error:
        sys.exit(str(error))
    for line in (*capture.problems, *capture.warnings):
        print(line, file=sys.stderr)
    if capture.left_out:
        print(f"{capture.name}: {capture.left_out}", file=sys.stderr)
    if short := len(capture.windows) - len(found):
        print(f"{capture.name}: {short} windows are too short for a verdict", file=sys.stderr)
    print(f"{len(found)} windows of {found['uid'].nunique()} connections")
    if found.empty:
        return
    print(found.groupby(["service", "application"]).size().sort_values(ascending=False).to_string())
    print("\nmost suspicious:")
    columns = ["ts", "id.orig_h", "id.resp_h", "id.resp_p", "service", "application", "malicious_score"]
    print(found.nlargest(5, "malicious_score")[columns].to_string(index=False))


if __name__ == "__main__":
    main()
