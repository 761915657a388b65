"""What people and programs see of a cluster: values first, and pictures made of them."""
