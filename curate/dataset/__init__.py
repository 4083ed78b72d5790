"""The faceset folder: manifest, table, consent, pins, locking, mirroring, reading it from Python."""
