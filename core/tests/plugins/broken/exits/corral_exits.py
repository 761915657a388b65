"""A module that was a script: importing it ends the program."""

import sys

sys.exit("usage: corral_exits JOB")
