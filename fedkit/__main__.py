"""`python -m fedkit` is the command `fedkit`, for where no script is installed."""

from fedkit.cli.main import main

if __name__ == "__main__":
    main()
