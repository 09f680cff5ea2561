"""Components for logflow as others would write them; docs/plugins.md explains them."""
