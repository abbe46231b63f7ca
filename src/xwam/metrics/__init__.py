"""How good a future is: plain functions first; `evaluate` modules in `modules/` are thin shells around them."""
