"""Run the commands of a page one after the other, each as the installed command would, in one process.

Started as ``python -m tests.docs.walk`` with JSON on standard input: [[exit code, [argument, ...]], ...].
"""

import json
import sys

from fewdistill.benchmark.cli.main import main

if __name__ == "__main__":
    for expected, arguments in json.load(sys.stdin):
        sys.argv = arguments
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        if code != expected:
            sys.exit(f"{arguments}: exit code {code}, wanted {expected}")
