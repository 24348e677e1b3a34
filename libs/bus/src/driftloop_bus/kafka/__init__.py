"""The one place that knows aiokafka: `ports.Log` on a real broker, and the administration of topics.

Nothing here gives up. A producer that fails is replaced, a consumer waits for its topics and its broker and says so, and
whoever called is told TryAgain.
"""

from driftloop_bus.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
