"""Training of the autoencoder: data, model, loss, loop. Imports curate and reports."""

import os

# torch's threads wait for each other some hundred times per step. By default they spin, and if another process needs a
# core, that costs six times the work itself (2.2 s per step of `tiny` instead of 0.39 s on two busy cores). Asleep they
# cost nothing. OpenMP reads this when torch is first imported, which the modules of this package do after this line.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
