//! Layers that keep a state of one size in place of all tokens: what they multiply, what they keep.

use serde::{Deserialize, Serialize};

/// A matrix of such a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMatrix {
    /// Rows.
    pub inner: u32,
    /// Columns.
    pub outer: u32,
    /// How tensor-parallel ranks share it.
    pub split: Split,
}

/// What ranks have of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Some of its columns.
    Columns,
    /// Some of its rows.
    Rows,
    /// All of it.
    Whole,
}

/// A layer with a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurrent {
    /// What it is called.
    pub name: String,
    /// Its matrices, in the order in which a token runs through them.
    pub matrices: Vec<StateMatrix>,
    /// Elements of everything that is no such matrix: convolutions, biases, decays, norms.
    pub vector_elements: u64,
    /// Elements of the window of its convolution.
    pub conv_elements: u64,
    /// Elements of its state.
    pub state_elements: u64,
    /// Bytes of an element of the state, where it is not as wide as activations.
    pub state_element_bytes: Option<u32>,
    /// Elements a token that the scan reads and writes.
    pub scan_elements: u64,
    /// Multiplications and additions of the scan a token.
    pub scan_flops: u64,
}
