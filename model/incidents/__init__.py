"""The second, small model: from what a network says of flows to incidents; how it is fitted, and what it is worth."""
