"""What a scenario can lead activities `through`: each module has its table TUNNELS and two context managers.

serve(part) and connect(part) bring the tunnel up on their side and give the address that the activity inside is to use.
"""

from ..activity import Tunnel, collect

TUNNELS: dict[str, Tunnel] = collect(__name__, __path__, "TUNNELS", Tunnel)
