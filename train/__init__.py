"""The autoencoder: data, model, loss, loop. Imports curate and reports."""

import os

# torch's threads wait for each other some hundred times a step. By default they spin, and where something else needs a
# core that costs six times the work itself (2.2 s a step of `tiny` in place of .39 on two busy cores). Asleep they cost
# nothing. OpenMP reads this when torch is first imported, which the modules of this package do after this line.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
