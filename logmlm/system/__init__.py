"""Operating system, HTTP, Kafka clients, text: nothing that knows of logs."""
