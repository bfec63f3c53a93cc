"""What shows and steers an agent that runs: ``mmtt status``, ``top``, ``reload`` and ``doctor``."""
