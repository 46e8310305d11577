"""What stands in for AWS in tests: moto, with what it lacks, and pipelines whose steps really run.

with aws_stand_in(folder) as aws:
    aws.client("sagemaker").create_endpoint(...)
    aws.fail("sagemaker:DescribeEndpoint", "ThrottlingException")
"""

from support.aws.front import Front as Front
from support.aws.kills import dying_at as dying_at
from support.aws.stand_in import ACCOUNT as ACCOUNT
from support.aws.stand_in import StandIn as StandIn
from support.aws.stand_in import aws_stand_in as aws_stand_in
from support.aws.wire import Call as Call
from support.aws.wire import Refused as Refused
from support.aws_wire import REGION as REGION
from support.serving import HungUp as HungUp
