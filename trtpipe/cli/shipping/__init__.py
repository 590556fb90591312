"""Commands for what is shipped: `package` and `select`, what they print and which exit code they end with."""
