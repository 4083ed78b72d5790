"""`python -m faceset`."""

from faceset.cli import main

if __name__ == "__main__":
    main()
