//! The catalog: models by architecture and devices by data sheet, embedded in the binary.
