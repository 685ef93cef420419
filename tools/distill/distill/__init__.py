"""Train a miniature text-to-image model with the full T2MD structure and export it as a pipeline directory."""

import os

# libgomp reads it when torch is loaded. At its barriers a thread that waits for one without a core would spin for long.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
