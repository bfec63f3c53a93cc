"""Community ID: one name for a flow in the logs of Zeek, Suricata and others."""
