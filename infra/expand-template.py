"""Prints a SAM template as SAM expands it, for tools that know only plain CloudFormation.

    expand-template.py template.yaml GradualDeployment=true
"""

import json
import logging
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# It says at length which of its own experiments are off.
logging.disable(logging.WARNING)
with open(sys.argv[1], encoding="utf-8") as file:
    template = yaml_parse(file)
for resource in template["Resources"].values():
    # SAM expands no local paths.
    if "CodeUri" in resource.get("Properties", {}):
        resource["Properties"]["CodeUri"] = "s3://bucket/key"
# No managed policies are given by their names, so none have to be asked for.
parameters = dict(argument.split("=", 1) for argument in sys.argv[2:])
loader = type("NoManagedPolicies", (), {"load": staticmethod(dict)})()
print(json.dumps(transform(template, parameters, loader), indent=1))
