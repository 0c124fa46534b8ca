"""Estimation of the contrast transfer function by maximum likelihood. Knows images and optics, nothing of motion."""
