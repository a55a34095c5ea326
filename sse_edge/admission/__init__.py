"""Who may enter: pure policies and the gate that composes them."""
