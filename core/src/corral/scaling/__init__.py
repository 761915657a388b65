"""How large groups should be, and what that costs."""
