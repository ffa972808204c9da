"""Signatures of persons and seals of the platform: made, verified, and kept with their proofs.

`model` is the port (Signer, Verifier), `embedded` the test authority behind it, `eimzo` the
national signature, `seal` the platform's own keys for documents without a human signer.
"""
