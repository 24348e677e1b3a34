"""The local stack: Kafka and Postgres as child processes of one supervisor, nothing else need be installed."""
