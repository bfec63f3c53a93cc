# @TEST-DOC: The same file gives the same logs, however fast the agent answers. With the real agent if it is installed.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT

log() {
    grep -v '^#open\|^#close' $1.log
}
for delay in 0 0.3; do
    $RUN "--credit 4 --delay $delay" -D -r "$DATA/office.pcap"
    for name in mmtt conn notice; do log $name >$name.$delay; done
done
for name in mmtt conn notice; do cmp $name.0 $name.0.3 || exit 1; done

command -v mmtt >/dev/null || exit 0
for run in 1 2; do
    zeek -D -C "$PACKAGE" -r "$DATA/office.pcap" || exit 1
    for name in mmtt conn; do log $name >$name.$run; done
done
for name in mmtt conn; do cmp $name.1 $name.2 || exit 1; done
[ "$(zeek-cut status <mmtt.log | sort -u | tr '\n' ' ')" = "ok too_short " ]
