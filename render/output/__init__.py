"""From finished frames to files: codecs, containers, picture sequences."""
