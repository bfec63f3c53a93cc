"""The agent: serves verdicts to Zeek over its WebSocket API."""
