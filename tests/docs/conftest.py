"""What makes parts of the pages is imported as it imports itself: by name, from docs/make."""

import sys

from places import ROOT

sys.path.append(str(ROOT / "docs" / "make"))
