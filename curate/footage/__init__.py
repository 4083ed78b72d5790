"""Reading footage: probing, decoding, shot cuts, skipped frames, remote storage."""
