"""MiniStack with IAM enforced, and every decision of its IAM in a file: who did what to which resource."""

import json
import os
import sys

from ministack.app import main
from ministack.core import iam_evaluator

decide = iam_evaluator.evaluate


def recorded(context, *policies):
    result = decide(context, *policies)
    line = {
        "principal": context.principal_arn,
        "action": context.action,
        "resource": context.resource_arn,
        "decision": result.decision,
        "sid": result.matched_sid,
    }
    with open(os.environ["IAM_DECISIONS"], "a") as file:
        file.write(json.dumps(line) + "\n")
    return result


iam_evaluator.evaluate = recorded
sys.exit(main())
