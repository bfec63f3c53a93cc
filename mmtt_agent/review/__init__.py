"""What an analyst does with incidents: list them, look into one, mute those that are known. On Zeek's logs alone."""
