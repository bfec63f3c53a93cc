# @TEST-DOC: The last incidents are waited for at a capture's end, also where it is cut off, but not for ever.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

head -c 60000 "$DATA/office.pcap" >cut.pcap
patience='redef MMTT::answer_timeout = 3sec;'
(
    echo "# whole"
    $RUN "--incidents some" -r "$DATA/office.pcap"
    cat said
    zeek-cut state <mmtt_incidents.log | sort | uniq -c
    echo "# no end of them"
    $RUN "--mode unfinished" -r "$DATA/office.pcap" -e "$patience"
    cat said
    zeek-cut uid <conn.log | wc -l
    echo "# without an end of Zeek"
    $RUN "--incidents some" -r "$DATA/office.pcap" exit_only_after_terminate=T -e "$patience
        hook MMTT::incident(rec: MMTT::IncidentInfo, unit: string) { if ( rec\$state == \"closed\" ) terminate(); }"
    cat said
    zeek-cut state <mmtt_incidents.log | sort | uniq -c
) >all
