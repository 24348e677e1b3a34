"""Log predictions and outcomes, subscribe to drift.

```python
import driftloop

with driftloop.Producer("shop") as log:
    asked = log.prediction("fraud", features={"amount": 12.5}, version="3", score=0.08)
    log.outcome("fraud", asked, value=False)
```
```python
async for alert in driftloop.subscribe(driftloop.DRIFT, group="pager"):
    print(alert.data.model, alert.data.severity, alert.data.recommendation.reason)
```
"""

from driftloop.facts import came_true, observed, predicted
from driftloop.producer import AsyncProducer, Producer
from driftloop.subscription import BadMessage, subscribe
from driftloop_contracts.loop import DriftDetected
from driftloop_contracts.topics import DECLARATIONS, DEPLOYMENTS, DRIFT, JUDGEMENTS, REGISTRY, RETRAINING

__all__ = [
    "DECLARATIONS", "DEPLOYMENTS", "DRIFT", "JUDGEMENTS", "REGISTRY", "RETRAINING", "AsyncProducer", "BadMessage",
    "DriftDetected", "Producer", "came_true", "observed", "predicted", "subscribe",
]  # fmt: skip
