"""``python -m mobilekit``."""

from mobilekit.cli.main import run

if __name__ == "__main__":
    run()
