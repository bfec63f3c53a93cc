# @TEST-DOC: Connections without a verdict: an agent is told how many there were, and started for them where there are many; not what is to be left alone.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

python3 "$TEST_BASE/made_windows.py" probes >probes.pcap
run() {
    echo "# $1"
    shift
    rm -f log
    $RUN "--log log" "$@"
    cat said
    [ ! -e log ] || grep -v "^pair" log
}
(
    run "a few beside flows" -r "$DATA/office.pcap"
    run "many and no flow" -r probes.pcap
    run "what is left alone" -r probes.pcap -e 'redef MMTT::skip_subnets += { 10.0.0.0/8 };'
    run "more than are taken" -r probes.pcap -e 'redef MMTT::max_tries = 4;'
) >all
