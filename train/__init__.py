"""The autoencoder: data, model, loss, loop. Imports curate and reports."""
