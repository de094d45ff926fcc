//! What fits in a GPU: weights, activation peak, and the KV pool that is left.
