"""``python -m fewdistill``: the command line, for launchers such as torchrun that take a module."""

from fewdistill.benchmark.cli.main import main

if __name__ == "__main__":
    main()
