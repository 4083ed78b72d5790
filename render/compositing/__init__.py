"""From a swapped crop to a finished frame: mask, colour, detail, blending."""
