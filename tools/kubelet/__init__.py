"""A node of Kubernetes that is played: what its containers say, how its kubelet rotates and deletes it.

``python -m tools.kubelet`` kills an agent on it, again and again, and judges what arrived.
"""
