"""Kafka behind one door: what a service hears, what follows, and how neither is lost nor counted twice."""
