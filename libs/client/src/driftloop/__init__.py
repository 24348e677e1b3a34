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

from driftloop.producer import AsyncProducer, Producer
from driftloop.subscription import subscribe
from driftloop_contracts.topics import DECLARATIONS, DEPLOYMENTS, DRIFT, JUDGEMENTS, REGISTRY, RETRAINING

__all__ = [
    "DECLARATIONS", "DEPLOYMENTS", "DRIFT", "JUDGEMENTS", "REGISTRY", "RETRAINING", "AsyncProducer", "Producer", "subscribe",
]  # fmt: skip
