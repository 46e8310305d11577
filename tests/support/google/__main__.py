"""Google Cloud on this machine; see ``support.alone``."""

from support.alone import run_alone
from support.google.stand_in import google_stand_in

if __name__ == "__main__":
    run_alone("google", google_stand_in)
