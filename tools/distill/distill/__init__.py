"""Train a miniature text-to-image model with the full T2MD structure and export it as a pipeline directory."""
