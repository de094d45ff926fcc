//! What a step costs: pure functions of the model's architecture, the GPUs, the parallelism and the step's shape.
