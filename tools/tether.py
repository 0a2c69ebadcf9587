"""Root. `tether.py COMMAND ...`: become COMMAND, and be ended by the kernel when the parent dies, even if it was killed."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    os.execvp(sys.argv[1], sys.argv[1:])
