"""Running work: processes, progress, logs, disk space, the cache, files written whole."""
