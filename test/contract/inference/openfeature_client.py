"""OpenFeature's Python SDK with its OFREP provider: prints as JSON the version and variant of each key.

Arguments: URL of REST and how many keys. Needs openfeature-sdk and openfeature-provider-ofrep.
"""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

URL, COUNT = sys.argv[1], int(sys.argv[2])

api.set_provider(OFREPProvider(URL))
client = api.get_client()
found = [
    client.get_integer_details("flights", -1, EvaluationContext(targeting_key=f"user-{i}")) for i in range(COUNT)
]
missing = client.get_integer_details("nobody", -1, EvaluationContext(targeting_key="user-1"))
answer = {
    "versions": [one.value for one in found],
    "reasons": sorted({str(one.reason) for one in found}),
    "missing": str(missing.error_code),
}
print(json.dumps(answer), flush=True)
