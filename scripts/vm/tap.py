# SPDX-License-Identifier: GPL-2.0
"""TAP output for the tests that run beside the virtual machines.

    tap = Tap()
    with tap.case("the shared disk shows what the other wrote"):
        assert a.ok("...") == "..."
    tap.done()

A case that raises has failed; the ones after it run all the same.
"""

import contextlib
import sys
import traceback


class Tap:
    def __init__(self):
        print("TAP version 13", flush=True)
        self.count = 0
        self.failed = 0

    @contextlib.contextmanager
    def case(self, name):
        self.count += 1
        try:
            yield
        except Exception:
            self.failed += 1
            print("# " + traceback.format_exc().rstrip().replace("\n", "\n# "))
            print(f"not ok {self.count} - {name}", flush=True)
        else:
            print(f"ok {self.count} - {name}", flush=True)

    def done(self):
        """Prints the plan and ends the program."""
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed or not self.count else 0)
