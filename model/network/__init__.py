"""The network: its parts, and its answers to windows. Knows neither files nor data sets."""
