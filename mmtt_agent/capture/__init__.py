"""Read capture files into the series that Zeek's package would have collected."""
