"""Back into Suricata: who looks malicious, as an IP reputation list and a dataset: ``mmtt reputation``."""
