"""AWS on this machine; see ``support.alone``."""

from support.alone import run_alone
from support.aws.stand_in import aws_stand_in

if __name__ == "__main__":
    run_alone("aws", aws_stand_in)
