# @TEST-DOC: An agent that answers nonsense, too much, too little, twice, or in another version is not believed, and said so once.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

for mode in nonsense few many twice version; do
    $RUN "--mode $mode --credit 4" -r "$DATA/office.pcap"
    echo "# $mode"
    cat said
    zeek-cut status <mmtt.log | sort | uniq -c
    zeek-cut uid <conn.log | wc -l
done >all
