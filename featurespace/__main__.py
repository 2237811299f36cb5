"""``python -m featurespace`` is the command ``featurespace``."""

from featurespace.cli import main

if __name__ == "__main__":
    main()
