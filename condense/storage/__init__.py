"""How the images of a set are stored: smaller, with less colour resolution, 8 bits per number."""
