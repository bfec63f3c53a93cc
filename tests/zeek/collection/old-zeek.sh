# @TEST-DOC: A Zeek that is too old is told in one line, and Zeek ends.
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff said

# The Zeek here is new enough, so that the package has to ask for one that isn't made yet, and for names that no Zeek has.
cp -r "$PACKAGE" package
sed -i 's/Version::number \(<\|>=\) [0-9]*/Version::number \1 99999999/' package/*.zeek
sed -i 's/ConnThreshold::/NotYet::/' package/thresholds.zeek
zeek -D -r "$DATA/midstream.pcap" package 2>&1 | sed 's/; this is .*/; this is VERSION/; s/^.*mmtt needs/mmtt needs/' >said
echo "exit status is 0: $([ ${PIPESTATUS[0]} = 0 ] && echo yes || echo no)" >>said
