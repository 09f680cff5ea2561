"""The Fluentd Forward Protocol: frames and handshake without I/O, then connections and balancing."""
