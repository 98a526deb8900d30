"""`python -m humar_edge`: the command, for launchers that start modules."""

from humar_edge.cli.main import main

if __name__ == "__main__":
    main()
