"""Verbs of the command line, one file each. They import what is heavy inside, so that `--help` is quick."""
